//! A statement that is put together from parts.
//!
//! Owns the numbers of its parameters. Invariant: what a request says becomes a parameter, never a part of the text.

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Bound {
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
}

impl From<&str> for Bound {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Bound {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Bound {
    fn from(truth: bool) -> Self {
        Self::Int(truth.into())
    }
}

/// A statement with its parameters, in the form that both databases read: `$1`, `$2`, …
#[derive(Debug, Default)]
pub(crate) struct Statement {
    sql: String,
    values: Vec<Bound>,
}

impl Statement {
    /// Begins with this text.
    pub(crate) fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    /// Adds text.
    pub(crate) fn sql(mut self, sql: &str) -> Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds a parameter.
    pub(crate) fn bind(mut self, value: Bound) -> Self {
        self.values.push(value);
        self.sql.push_str(&format!("${}", self.values.len()));
        self
    }

    /// Adds a text as a parameter.
    pub(crate) fn text(self, value: impl Into<String>) -> Self {
        self.bind(Bound::Text(value.into()))
    }

    /// Adds parameters with commas between them.
    pub(crate) fn list(self, values: impl IntoIterator<Item = Bound>) -> Self {
        values.into_iter().enumerate().fold(self, |statement, (index, value)| {
            let statement = if index == 0 { statement } else { statement.sql(", ") };
            statement.bind(value)
        })
    }

    /// The text and the parameters.
    pub(crate) fn into_parts(self) -> (String, Vec<Bound>) {
        (self.sql, self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered() {
        let statement = Statement::new("a = ").text("x").sql(" AND b IN (");
        let statement = statement.list([Bound::Int(7), Bound::Int(9)]).sql(")");
        let (sql, values) = statement.into_parts();
        assert_eq!(sql, "a = $1 AND b IN ($2, $3)");
        assert_eq!(values, [Bound::Text("x".to_owned()), Bound::Int(7), Bound::Int(9)]);
    }
}
