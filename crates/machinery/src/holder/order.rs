//! What tasks are told to do.

/// What a task has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    Run,
    /// Clean up and end.
    Stop,
    /// End where it stands.
    Abort,
}

/// The bits of `orders`: the order to all, and whether some task has one of its own.
pub(super) const TO_ALL: u8 = 0b11;
pub(super) const TO_SOME: u8 = 0b100;

impl Order {
    pub(super) fn of(bits: u8) -> Self {
        match bits & TO_ALL {
            0 => Self::Run,
            1 => Self::Stop,
            _ => Self::Abort,
        }
    }

    pub(super) fn bits(self) -> u8 {
        match self {
            Self::Run => 0,
            Self::Stop => 1,
            Self::Abort => 3,
        }
    }
}
