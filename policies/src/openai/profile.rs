//! Profiles: what fixfly knows about a model and its server. One TOML file each.

use std::collections::BTreeMap;
use std::path::Path;

use fixfly_runtime::{Finish, Price, Sampling, Settings, Thinking, ThinkingMode, ThinkingSwitch};
use serde::Deserialize;
use serde_json::Value;

use super::addresses::{Addresses, servers};

/// Built-in profiles, by name.
const SHIPPED: [(&str, &str); 10] = [
    ("gpt-4.1", include_str!("../../profiles/gpt-4.1.toml")),
    ("gpt-4.1-nano", include_str!("../../profiles/gpt-4.1-nano.toml")),
    ("gpt-5-mini", include_str!("../../profiles/gpt-5-mini.toml")),
    ("deepseek-r1", include_str!("../../profiles/deepseek-r1.toml")),
    ("qwen3-coder-480b-a35b", include_str!("../../profiles/qwen3-coder-480b-a35b.toml")),
    ("qwen3-32b", include_str!("../../profiles/qwen3-32b.toml")),
    ("qwen3-235b-a22b-thinking", include_str!("../../profiles/qwen3-235b-a22b-thinking.toml")),
    ("vllm", include_str!("../../profiles/vllm.toml")),
    ("llama-server", include_str!("../../profiles/llama-server.toml")),
    ("ollama", include_str!("../../profiles/ollama.toml")),
];
/// The address of OpenAI's own server.
pub(super) const OPENAI: &str = "https://api.openai.com/v1";
/// The thesis' sampling.
const TEMPERATURE: f64 = 0.6;
const MAX_TOKENS: u32 = 10_000;

/// What fixfly knows about a model and its server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) model: Option<String>,
    /// One address, or several of servers that serve the same model.
    #[serde(default)]
    pub(crate) base_url: Addresses,
    /// Environment variable that holds the API key.
    pub(crate) api_key_env: Option<String>,
    /// Maximum tokens of prompt and answer together.
    #[serde(rename = "context")]
    pub(crate) context_length: Option<u64>,
    pub(crate) stream: Option<bool>,
    /// Name of the field that limits an answer; OpenAI's newer models use another one.
    #[serde(default)]
    pub(crate) limit_field: LimitField,
    /// Fields that are left out of requests.
    #[serde(default)]
    pub(crate) omit: Vec<OmittedField>,
    /// Where requests contain the model's earlier reasoning; by default they do not.
    pub(crate) send_reasoning: Option<ReasoningField>,
    /// Sampling fields that the server accepts; default: OpenAI's standard ones.
    pub(crate) takes: Option<Vec<Field>>,
    #[serde(default)]
    pub(crate) sampling: Sampling,
    /// How the model is asked to reason or not.
    pub(crate) thinking_switch: Option<ThinkingSwitch>,
    pub(crate) price: Option<Price>,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) seconds: Seconds,
    /// What the server's own finish reasons mean, where they are not in our list.
    #[serde(default)]
    pub(crate) finish_reasons: BTreeMap<String, Finish>,
    /// Additional fields of the request, sent as they are.
    #[serde(default)]
    pub(crate) extra: BTreeMap<String, Value>,
}

/// Name of the field that limits an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitField {
    #[default]
    MaxTokens,
    MaxCompletionTokens,
}

impl LimitField {
    pub(crate) fn key(self) -> &'static str {
        match self {
            LimitField::MaxTokens => "max_tokens",
            LimitField::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// A field that fixfly sends unless a profile leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OmittedField {
    ParallelToolCalls,
    StreamOptions,
    ChatTemplateKwargs,
    MaxTokens,
    MaxCompletionTokens,
    Temperature,
    TopP,
    TopK,
    Seed,
}

impl OmittedField {
    pub(crate) const ALL: [OmittedField; 9] = [
        OmittedField::ParallelToolCalls,
        OmittedField::StreamOptions,
        OmittedField::ChatTemplateKwargs,
        OmittedField::MaxTokens,
        OmittedField::MaxCompletionTokens,
        OmittedField::Temperature,
        OmittedField::TopP,
        OmittedField::TopK,
        OmittedField::Seed,
    ];

    pub(crate) fn key(self) -> &'static str {
        match self {
            OmittedField::ParallelToolCalls => "parallel_tool_calls",
            OmittedField::StreamOptions => "stream_options",
            OmittedField::ChatTemplateKwargs => "chat_template_kwargs",
            OmittedField::MaxTokens => "max_tokens",
            OmittedField::MaxCompletionTokens => "max_completion_tokens",
            OmittedField::Temperature => "temperature",
            OmittedField::TopP => "top_p",
            OmittedField::TopK => "top_k",
            OmittedField::Seed => "seed",
        }
    }
}

/// Where a request contains the reasoning of the model's earlier answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) enum ReasoningField {
    /// In this field of each assistant message.
    Named(String),
    /// At the start of its content, between `<think>` tags.
    ThinkTags,
}

impl From<String> for ReasoningField {
    fn from(name: String) -> Self {
        match name.as_str() {
            "think_tags" => ReasoningField::ThinkTags,
            _ => ReasoningField::Named(name),
        }
    }
}

/// A sampling field.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Field {
    Temperature,
    TopP,
    TopK,
    Seed,
}

/// Rate limits of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) tokens_per_minute: Option<u32>,
    /// Maximum number of parallel requests.
    pub(crate) concurrency: Option<u32>,
}

/// Timeouts and retries; times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Seconds {
    pub(crate) connect: f64,
    /// Until the answer starts.
    pub(crate) first_byte: f64,
    /// Between two parts of the answer.
    pub(crate) idle: f64,
    pub(crate) total: f64,
    /// The wait before the first retry; it doubles each time.
    pub(crate) backoff: f64,
    /// Maximum number of retries.
    pub(crate) retries: u32,
}

impl Default for Seconds {
    fn default() -> Self {
        let retries = 6;
        Seconds {
            connect: 10.0,
            first_byte: 300.0,
            idle: 120.0,
            total: 1800.0,
            backoff: 1.0,
            retries,
        }
    }
}

/// A remote model with all its settings: the user's flags override the profile.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resolved {
    pub(crate) profile: Profile,
    pub(crate) model: String,
    /// The addresses of its servers, at least one.
    pub(crate) base_urls: Vec<String>,
    pub(crate) sampling: Sampling,
    /// Temperatures from the second turn on.
    later_temperatures: Vec<f64>,
    pub(crate) thinking: Thinking,
    pub(crate) stream: bool,
}

impl Profile {
    /// Loads a profile by name or from a file.
    pub(crate) fn load(name: &str) -> Result<Profile, String> {
        let shipped = SHIPPED.iter().find(|(known, _)| *known == name);
        let (place, text) = match shipped {
            Some((_, text)) => (name.to_string(), (*text).to_string()),
            None if Path::new(name).is_file() => {
                let text = fixfly_runtime::read_text(Path::new(name));
                (name.to_string(), text.map_err(|why| format!("cannot read {name}: {why}"))?)
            }
            None => {
                let names = SHIPPED.map(|(name, _)| name).join(", ");
                return Err(format!(
                    "there is no profile `{name}` and no file of that name; the built-in profiles are {names}"
                ));
            }
        };
        let profile: Profile = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            format!("{place}:{line}: {}", error.message())
        })?;
        Ok(profile)
    }

    fn takes(&self, field: Field) -> bool {
        let omitted = match field {
            Field::Temperature => OmittedField::Temperature,
            Field::TopP => OmittedField::TopP,
            Field::TopK => OmittedField::TopK,
            Field::Seed => OmittedField::Seed,
        };
        if self.omit.contains(&omitted) {
            return false;
        }
        match &self.takes {
            Some(takes) => takes.contains(&field),
            // Not in OpenAI's standard: sent only if a profile lists it.
            None => field != Field::TopK,
        }
    }
}

impl Resolved {
    /// Combines settings and profile. Returns an error if something is missing.
    pub(crate) fn of(settings: &Settings) -> Result<Resolved, String> {
        let remote = &settings.remote;
        let profile = remote.profile.as_deref().map_or(Ok(Profile::default()), Profile::load)?;
        let model = settings.model.clone().or_else(|| profile.model.clone());
        let model = model.ok_or("the policy `openai` needs a model; pass --model NAME")?;
        let asked = remote.base_url.iter().chain(&remote.other_base_urls).cloned();
        let mut base_urls: Vec<String> = asked.collect();
        if base_urls.is_empty() {
            base_urls.extend_from_slice(profile.base_url.all());
        }
        if base_urls.is_empty() && remote.profile.is_some() {
            let name = remote.profile.as_deref().unwrap_or_default();
            return Err(format!(
                "the profile `{name}` has no server, because many serve this model; pass --base-url URL"
            ));
        }
        if base_urls.is_empty() {
            base_urls.push(OPENAI.into());
        }
        let base_urls = servers(&base_urls)?;
        let (asked, known) = (&settings.sampling, &profile.sampling);
        let taken = |field, value: Option<f64>| value.filter(|_| profile.takes(field));
        let temperature = asked.temperature.or(known.temperature).or(Some(TEMPERATURE));
        let sampling = Sampling {
            temperature: taken(Field::Temperature, temperature),
            top_p: taken(Field::TopP, asked.top_p.or(known.top_p)),
            top_k: asked.top_k.or(known.top_k).filter(|_| profile.takes(Field::TopK)),
            max_tokens: asked.max_tokens.or(known.max_tokens).or(Some(MAX_TOKENS)),
            seed: None,
        };
        refuse_untaken(asked, &sampling)?;
        Ok(Resolved {
            thinking: thinking(settings, &profile)?,
            stream: remote.stream.or(profile.stream).unwrap_or(true),
            profile,
            model,
            base_urls,
            sampling,
            later_temperatures: settings.later_temperatures.clone(),
        })
    }

    /// The sampling of a turn, counted from 0.
    pub(crate) fn sampling_at(&self, turn: usize) -> Sampling {
        self.sampling.at_turn(&self.later_temperatures, turn)
    }

    /// Whether a server is OpenAI's own, which needs a key.
    pub(crate) fn is_openai(&self) -> bool {
        self.base_urls.iter().any(|address| address.contains("api.openai.com"))
    }

    /// Whether requests contain a seed.
    pub(crate) fn takes_seed(&self) -> bool {
        self.profile.takes(Field::Seed)
    }
}

/// Refuses a flag that the server would ignore.
fn refuse_untaken(asked: &Sampling, sent: &Sampling) -> Result<(), String> {
    let flags = [
        ("--temperature", asked.temperature.is_some() && sent.temperature.is_none()),
        ("--top-p", asked.top_p.is_some() && sent.top_p.is_none()),
        ("--top-k", asked.top_k.is_some() && sent.top_k.is_none()),
    ];
    match flags.iter().find(|(_, untaken)| *untaken) {
        Some((flag, _)) => Err(format!(
            "this server does not take {flag}; leave the flag out, or list its field in `takes` of a profile of your own"
        )),
        None => Ok(()),
    }
}

fn thinking(settings: &Settings, profile: &Profile) -> Result<Thinking, String> {
    let Thinking { mode, switch } = settings.thinking;
    let switch = match (mode, switch, profile.thinking_switch) {
        (ThinkingMode::Default, _, _) => ThinkingSwitch::None,
        (_, ThinkingSwitch::None, Some(ThinkingSwitch::None)) => {
            return Err("this model has no switch for thinking; leave out --think, or pass its switch with --thinking-switch".into());
        }
        (_, ThinkingSwitch::None, switch) => switch.unwrap_or(ThinkingSwitch::Template),
        (_, switch, _) => switch,
    };
    Ok(Thinking { mode, switch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_that_comes_with_fixfly_is_read() {
        for (name, _) in SHIPPED {
            let profile = Profile::load(name).unwrap();
            assert!(profile.sampling.max_tokens.is_none(), "{name}: the thesis' limit holds");
        }
    }

    #[test]
    fn a_profile_with_a_fault_is_told_of_by_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "model = \"m\"\ntemprature = 1\n").unwrap();
        let error = Profile::load(file.path().to_str().unwrap()).unwrap_err();
        assert!(error.contains(":2: unknown field `temprature`"), "{error}");
        let error = Profile::load("gpt-9").unwrap_err();
        assert!(error.contains("the built-in profiles are gpt-4.1, "), "{error}");
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Settings), expected: &str) {
        let mut settings = Settings { model: Some("m".into()), ..Settings::default() };
        change(&mut settings);
        let error = Resolved::of(&settings).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn wrong_settings_are_refused_in_a_sentence() {
        check(|s| s.model = None, "--model NAME");
        check(|s| s.remote.profile = Some("qwen3-32b".into()), "--base-url URL");
        check(|s| s.remote.base_url = Some("here".into()), "`here` is not the address");
        check(|s| s.remote.base_url = Some("ftp://a/v1".into()), "must begin with http");
        check(
            |s| s.remote.base_url = Some("http://me:secret@a/v1".into()),
            "must not contain a password",
        );
        check(
            |s| {
                s.remote.base_url = Some("http://a/v1".into());
                s.remote.other_base_urls = vec!["http://b/v1".into(), "http://a/v1/".into()];
            },
            "the server http://a/v1 is named twice",
        );
        check(|s| s.sampling.top_k = Some(3), "does not take --top-k");
        check(
            |s| {
                s.remote.profile = Some("gpt-4.1".into());
                s.thinking.mode = ThinkingMode::Think;
            },
            "no switch for thinking",
        );
    }

    #[test]
    fn fields_are_left_out_and_reasoning_is_sent_where_a_profile_asks_for_it() {
        let profile: Profile = toml::from_str(
            "omit = [\"parallel_tool_calls\", \"temperature\"]\nsend_reasoning = \"reasoning_content\"\n",
        )
        .unwrap();
        assert!(!profile.takes(Field::Temperature) && profile.takes(Field::Seed));
        let named = ReasoningField::Named("reasoning_content".into());
        assert_eq!(profile.send_reasoning, Some(named));
        let tags: Profile = toml::from_str("send_reasoning = \"think_tags\"").unwrap();
        assert_eq!(tags.send_reasoning, Some(ReasoningField::ThinkTags));
        let error = toml::from_str::<Profile>("omit = [\"messages\"]").unwrap_err().to_string();
        assert!(
            error.contains("unknown variant `messages`, expected one of `parallel_"),
            "{error}"
        );
        for field in OmittedField::ALL {
            let text = format!("omit = [\"{}\"]", field.key());
            assert_eq!(toml::from_str::<Profile>(&text).unwrap().omit, [field]);
        }
    }

    #[test]
    fn a_profile_names_one_server_or_several() {
        let check = |text: &str, expected: &[&str]| {
            let profile: Profile = toml::from_str(text).unwrap();
            assert_eq!(profile.base_url.all(), expected);
        };
        check("", &[]);
        check("base_url = \"http://a/v1\"", &["http://a/v1"]);
        check("base_url = [\"http://a/v1\", \"http://b/v1\"]", &["http://a/v1", "http://b/v1"]);
    }

    #[test]
    fn the_flags_stand_over_the_profile_and_both_over_the_defaults() {
        let mut settings = Settings { model: Some("m".into()), ..Settings::default() };
        let plain = Resolved::of(&settings).unwrap();
        assert_eq!(plain.base_urls, [OPENAI]);
        assert_eq!(
            (plain.sampling.temperature, plain.sampling.max_tokens),
            (Some(0.6), Some(10_000))
        );
        settings.remote.profile = Some("vllm".into());
        settings.sampling.temperature = Some(0.0);
        settings.thinking.mode = ThinkingMode::NoThink;
        let vllm = Resolved::of(&settings).unwrap();
        assert_eq!(vllm.sampling.temperature, Some(0.0));
        settings.later_temperatures = vec![0.8];
        let by_turn = Resolved::of(&settings).unwrap();
        assert_eq!(
            [0, 1, 2].map(|turn| by_turn.sampling_at(turn).temperature.unwrap()),
            [0.0, 0.8, 0.8]
        );
        assert_eq!(vllm.thinking.switch, ThinkingSwitch::Template);
    }
}
