//! The functions of the language: their names and how many arguments they take.
//!
//! Owns the table. What they do is in `call`.

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Eq,
    Ge,
    Gt,
    Index,
    Join,
    JoinIf,
    Le,
    Len,
    Lt,
    Matches,
    Ne,
    Not,
    Or,
    Print,
    Printf,
    Println,
    Replace,
    Slice,
    Split,
}

/// All of them, by name.
pub(super) const FUNCTIONS: &[Function] = &[
    Function::And,
    Function::Eq,
    Function::Ge,
    Function::Gt,
    Function::Index,
    Function::Join,
    Function::JoinIf,
    Function::Le,
    Function::Len,
    Function::Lt,
    Function::Matches,
    Function::Ne,
    Function::Not,
    Function::Or,
    Function::Print,
    Function::Printf,
    Function::Println,
    Function::Replace,
    Function::Slice,
    Function::Split,
];

impl Function {
    /// The function of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().copied().find(|function| function.name() == name)
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        self.usage().split(' ').next().unwrap_or_default().trim_start_matches('`').trim_end_matches('`')
    }

    /// How it is called, for hints.
    pub(super) const fn usage(self) -> &'static str {
        match self {
            Self::And => "`and value…`",
            Self::Eq => "`eq value other…`",
            Self::Ge => "`ge value other`",
            Self::Gt => "`gt value other`",
            Self::Index => "`index list position…`",
            Self::Join => "`join list separator`",
            Self::JoinIf => "`join_if separator text…`",
            Self::Le => "`le value other`",
            Self::Len => "`len value`",
            Self::Lt => "`lt value other`",
            Self::Matches => "`matches text glob`",
            Self::Ne => "`ne value other`",
            Self::Not => "`not value`",
            Self::Or => "`or value…`",
            Self::Print => "`print value…`",
            Self::Printf => "`printf format value…`",
            Self::Println => "`println value…`",
            Self::Replace => "`replace text old new`",
            Self::Slice => "`slice value start end`",
            Self::Split => "`split text separator`",
        }
    }

    /// How many arguments it takes: at least, at most.
    pub(super) const fn arguments(self) -> (usize, usize) {
        match self {
            Self::Print | Self::Println => (0, usize::MAX),
            Self::And | Self::Or | Self::Index | Self::JoinIf | Self::Printf => (1, usize::MAX),
            Self::Eq => (2, usize::MAX),
            Self::Len | Self::Not => (1, 1),
            Self::Ge
            | Self::Gt
            | Self::Join
            | Self::Le
            | Self::Lt
            | Self::Matches
            | Self::Ne
            | Self::Split => (2, 2),
            Self::Replace => (3, 3),
            Self::Slice => (1, 4),
        }
    }
}
