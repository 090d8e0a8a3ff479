//! Mistakes in the file, each with its line and its remedy.

use super::plan_of;

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(plan_of(text).unwrap_err(), expected);
}

#[test]
fn a_mistake_is_named_with_its_line_and_remedy() {
    let stage = "[[stages]]\nname = 'a'\ncommand = ['run', 'django']\n";
    refused("[cluster\n", "x.toml: line 1: this is not TOML: unclosed table, expected `]`");
    refused(
        "",
        "x.toml has no stage; add a [[stages]] table with `name` and `command`, or `run`, `sweep` or `train`",
    );
    refused(
        "stagez = 1\n",
        "x.toml: line 1: `stagez` is unknown here; the keys are: run, sweep, train, shards, cluster, merge, stages",
    );
    refused(
        "[cluster]\ncpus = 'many'\n",
        "x.toml: line 2: `cpus` must be a whole number of at least 1, such as 8",
    );
    refused(
        "[cluster]\ncpus = 0\n",
        "x.toml: line 2: `cpus` is 0; it must be a whole number of at least 1, such as 8",
    );
    refused(
        "[merge]\n\ntime = 'long'\n",
        "x.toml: line 3: `time` is `long`; it must be a text such as \"04:00:00\" or \"2-00:00:00\"",
    );
    refused(
        "[cluster]\nmemory = 'x'\n",
        "x.toml: line 2: `memory` is `x`; it must be a text such as \"16G\"",
    );
    refused(
        "[cluster]\npartition = 'gpu cpu'\n",
        "x.toml: line 2: `partition` is `gpu cpu`; it must be the name of a partition",
    );
    refused(
        "[cluster]\ngpus = 'two'\n",
        "x.toml: line 2: `gpus` must be a number such as 1, or a type with one, such as \"a100:2\"",
    );
    refused(
        "[cluster]\nsbatch = ['--array=1-3']\n",
        "x.toml: line 2: `sbatch` has --array, which fixfly sets itself; remove it",
    );
    refused(
        "[cluster.environment]\n'A B' = 'x'\n",
        "x.toml: line 1: `environment` has `A B`, which is no name of a variable; use letters, digits and _",
    );
    refused(
        "[cluster]\napptainer = 'a'\npyxis = 'b'\n",
        "x.toml: line 3: `pyxis` stands beside `apptainer`; keep one of them",
    );
    refused(
        "shards = 3\n",
        "x.toml: line 1: `shards` divides `run`, which is not there; write it into a stage",
    );
    refused(
        "[[stages]]\ncommand = ['run']\n",
        "x.toml: line 1: `name` is missing; add a name of letters, digits, - and _",
    );
    refused(
        "[[stages]]\nname = 'a'\n",
        "x.toml: line 1: `command` is missing; add the words after `fixfly`, such as [\"run\", \"django\"]",
    );
    refused(
        "[[stages]]\nname = 'output'\ncommand = ['run']\n",
        "x.toml: line 2: `name` is `output`, which fixfly uses itself; rename it",
    );
    refused(
        "[[stages]]\nname = 'a'\ncommand = ['dataset', 'build']\nshards = 2\n",
        "x.toml: line 4: `shards` divides only `run`; remove it from this stage",
    );
    refused(
        "[[stages]]\nname = 'a'\ncommand = ['run']\nshards = 2000\n",
        "x.toml: line 4: `shards` is 2000; Slurm's arrays have at most 1000",
    );
    refused(&format!("{stage}{stage}"), "x.toml: line 6: two stages are named a; rename one");
    refused(
        &format!("{stage}after = ['b']\n"),
        "x.toml: line 3: `after` of a names b, which is no earlier stage; there is none before it",
    );
    refused(
        &format!("{stage}[[stages]]\nname = 'b'\ncommand = ['report', '{{c}}']\n"),
        "x.toml: line 6: the command of b has {c}, which is no earlier stage; there are: a",
    );
    refused(
        "[[stages]]\nname = 'a'\ncommand = ['run', '-o', 'x']\n",
        "x.toml: line 3: the command of a has -o, which fixfly adds; remove it, and set `output` if the folder matters",
    );
    refused(
        "[[stages]]\nname = 'a'\ncommand = ['run', '--shard', '1/2']\n",
        "x.toml: line 3: the command of a has --shard; remove it and set `shards`",
    );
    refused(
        "[[stages]]\nname = 'a'\ncommand = ['run']\nnodes = 2\n",
        "x.toml: line 3: `nodes` of a is more than 1, and only train llamafactory uses several nodes; set `nodes = 1` and use `shards`",
    );
}
