//! The program of a container that only holds a network: it sleeps until it is killed.
//!
//! Owns an ELF file of some 140 bytes, so that holding a network needs no image from anywhere and, of the host's memory, a
//! page. Never returns, and reads nothing.

/// Where the file is put into memory.
const BASE: u64 = 0x40_0000;

/// The sizes of the file's header and of its one program header (ELF-64, System V ABI).
const HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;

/// The whole file for a processor by Go's name for it; none if that processor is not known.
pub(super) fn for_architecture(architecture: &str) -> Option<Vec<u8>> {
    match architecture {
        // mov eax, 34 (pause); syscall; jmp to the start
        "amd64" => Some(elf(62, &[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7])),
        "arm64" => Some(elf(183, &ARM64.map(u32::to_le_bytes).concat())),
        _ => None,
    }
}

/// `ppoll(NULL, 0, NULL, NULL)`, again and again: there is no `pause` here.
const ARM64: [u32; 7] = [
    0xd280_0000, // mov x0, 0
    0xd280_0001, // mov x1, 0
    0xd280_0002, // mov x2, 0
    0xd280_0003, // mov x3, 0
    0xd280_0928, // mov x8, 73
    0xd400_0001, // svc 0
    0x17ff_fffa, // b to the start
];

/// An executable that is this code and nothing else.
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    let start = u64::from(HEADER + PROGRAM_HEADER);
    let length = (start + code.len() as u64).to_le_bytes();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // An executable for this machine, version 1.
    file.extend([2_u16, machine].map(u16::to_le_bytes).concat());
    file.extend(1_u32.to_le_bytes());
    // Where it begins, where its program headers are, and no sections.
    file.extend([BASE + start, u64::from(HEADER), 0].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    file.extend([HEADER, PROGRAM_HEADER, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    // Load all of it, readable and executable, at pages of up to 64 KiB.
    file.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    file.extend([0, BASE, BASE].map(u64::to_le_bytes).concat());
    file.extend([length, length, 0x1_0000_u64.to_le_bytes()].concat());
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn a_file_begins_where_its_code_does() {
        for (architecture, code) in [("amd64", 0xb8), ("arm64", 0x00)] {
            let file = for_architecture(architecture).unwrap();
            let entry = u64::from_le_bytes(file[24..32].try_into().unwrap());
            assert_eq!(file[(entry - BASE) as usize], code);
            assert_eq!(u64::from_le_bytes(file[96..104].try_into().unwrap()), file.len() as u64);
        }
        assert!(for_architecture("s390x").is_none());
    }
}
