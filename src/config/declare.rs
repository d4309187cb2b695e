//! The macro that declares settings: of each entry it makes a field and what is known of it.

/// Declares a struct of settings. An entry is a field, with its doc and what clap has to know
/// beside its name, and after `=` the [`Setting`](crate::config::setting::Setting) that belongs to
/// it, which begins with the default:
///
/// ```ignore
/// /// Rank of the adapter
/// #[arg(value_name = "RANK")]
/// r: u32 = default(4).from(1).to(65_536);
/// ```
///
/// The field is `r: Option<u32>`, the setting `SETTINGS.r`; `ALL` lists the settings.
macro_rules! declare_settings {
    (
        $(#[$about:meta])*
        pub struct $struct:ident;
        $($group:ident {
            $(
                $(#[$attribute:meta])*
                $key:ident: $type:ty = $kind:ident($default:expr)
                    $(.$fact:ident($($argument:expr)?))*;
            )*
        })*
    ) => {
        $(#[$about])*
        pub struct $struct {
            $($(
                $(#[$attribute])*
                #[arg(long, help_heading = stringify!($group))]
                pub $key: Option<$type>,
            )*)*
        }

        /// The declarations, by field.
        pub(crate) struct Declarations {
            $($(pub(crate) $key: Setting<$struct, $type, default_type!($kind $type)>,)*)*
        }

        /// What is declared of each setting.
        pub(crate) static SETTINGS: Declarations = Declarations {
            $($(
                $key: Setting::$kind(
                    stringify!($key),
                    |settings: &mut $struct| &mut settings.$key,
                    default_of!($kind $default),
                )
                $(.$fact($($argument)?))*,
            )*)*
        };

        /// All settings, in the order of the help.
        pub(crate) static ALL: &[&dyn AnySetting<$struct>] = &[$($(&SETTINGS.$key),*),*];
    };
}

/// The type of a default: a function that makes the value, or words.
macro_rules! default_type {
    (default $type:ty) => { fn() -> $type };
    (default_in_words $type:ty) => { &'static str };
}

macro_rules! default_of {
    (default $value:expr) => {
        || $value
    };
    (default_in_words $words:expr) => {
        $words
    };
}

pub(crate) use {declare_settings, default_of, default_type};
