//! The forms in which models write a command.

use crate::answer::command;

/// A command, or the words of the refusal.
#[track_caller]
fn check_command(answer: &str, expected: Result<&str, &str>) {
    for answer in [answer.to_string(), answer.replace('\n', "\r\n")] {
        match (command(&answer), expected) {
            (Ok(command), Ok(expected)) => assert_eq!(command.text, expected, "{answer}"),
            (Err(why), Err(part)) => assert!(why.to_string().contains(part), "{why}"),
            (found, expected) => panic!("{answer}\ngives {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_block_with_a_tag_of_a_shell_is_a_command() {
    for tag in ["bash", "Bash", "shell", "sh", "zsh", " bash", "SH", "bash title=x"] {
        check_command(&format!("I look.\n```{tag}\nls\n```\n"), Ok("ls\n"));
    }
    check_command("~~~bash\nls\n~~~\n", Ok("ls\n"));
    check_command("````bash\nls\n```\nls\n````\n", Ok("ls\n```\nls\n"));
    check_command("```console\n$ ls\n```\n", Ok("ls\n"));
    check_command("```console\nls\n```\n", Ok("ls\n"));
    check_command("```bash\n$ cd a\n$ ls\n```\n", Ok("cd a\nls\n"));
    check_command("```mswea_bash_command\nls\npwd\n```\n", Ok("ls\npwd\n"));
    let both = "```bash\nls\n```\n```mswea_bash_command\npwd\n```\n";
    check_command(both, Ok("pwd\n"));
    check_command("```python\nx = 1\n```\nSo:\n```bash\nls\n```\n", Ok("ls\n"));
    check_command("Look:```bash\nls\n```", Ok("ls\n"));
    check_command("```bash\nls```", Ok("ls\n"));
    check_command("```bash\nls\n``` and see.", Ok("ls\n"));
    let list =
        "1. Look:\n   ```bash\n   cat > t.py <<'EOF'\n   x = 1\n   EOF\n   cat t.py\n   ```\n";
    check_command(list, Ok("cat > t.py <<'EOF'\nx = 1\nEOF\ncat t.py\n"));
    check_command("> ```bash\n> ls\n> ```\n", Ok("ls\n"));
}

#[test]
fn a_fence_in_a_heredoc_or_a_quotation_ends_no_command() {
    for command in [
        "cat > n.md <<'EOF'\n```\ncode\n```\nEOF\nls\n",
        "cat > n.md <<EOF && ls\n```python\ncode\n```\nEOF\n",
        "cat <<-\"END OF IT\"\n```\n\tEND OF IT\nls\n",
        "cat <<A <<B\n```\nA\n```\nB\n",
        "cat << \\EOF | wc -l\n```bash\nls\n```\nEOF\n",
        "git commit -m \"$(cat <<'EOF'\nIt's done:\n```\ncode\n```\nEOF\n)\"\n",
        "python3 - <<'PY'\ntext = '''\n```\n'''\nPY\n",
        "git commit -m 'a\n```\ncode\n```\n'\nls\n",
        "printf \"a\n```\nb\"\n",
        "echo $((1 << 2)) ${a#b} # it's\nls\n",
        "cat <<< word\nls\n",
        "echo a \\\n  b\n",
    ] {
        check_command(&format!("I write it.\n```bash\n{command}```\nThat's it.\n"), Ok(command));
        check_command(&format!("```mswea_bash_command\n{command}```\n"), Ok(command));
    }
    // What the shell itself would complain about.
    check_command("```bash\ngrep don't a\n```\nI'll see.\n", Ok("grep don't a\n"));
    check_command("```bash\ncat <<EOF\na\n```\n", Ok("cat <<EOF\na\n"));
}

#[test]
fn no_command_runs_that_is_not_certain() {
    check_command("Hm.", Err("no ```bash block"));
    check_command("", Err("no ```bash block"));
    let two = "```bash\nls\n```\nand\n```sh\ntouch second\n```\n";
    check_command(two, Err("2 blocks of commands, and none was run"));
    check_command("```bash\nls\n```bash\npwd\n```\n", Err("2 blocks"));
    // Equal blocks are one, unless the end of one is not certain.
    check_command("```bash\nls -a\n```\nSo:\n```sh\nls -a\n\n```\n", Ok("ls -a\n"));
    check_command("```bash\nls\n```\n```bash\nls\n```\n```bash\npwd\n```\n", Err("3 blocks"));
    check_command("```bash\nls\n```\n```bash\nls\n", Err("2 blocks"));
    check_command("```python\nx\n```\n", Err("only ```python; put the command in one block"));
    check_command("```\nls\n```\n", Err("only one without a tag; put"));
    check_command("```powershell\nls\n```\n", Err("only ```powershell"));
    check_command("```bash\nls\n", Err("not closed"));
    check_command("```bash\n\n```\n", Err("is empty"));
    check_command("```console\n$ ls\na.py\n```\n", Err("a session with its output"));
    check_command("```bash\n$ ls\na.py\n```\n", Err("a session with its output"));
    check_command("```console\nls\na.py\n```\n", Err("a session with its output"));
    let cut = "```bash\ncat <<EOF\n```\ncode\n```\nls\n```\n";
    check_command(cut, Err("the heredoc that `EOF` ends does not end inside the block"));
    check_command(
        "```bash\necho don't\n```\nor\n```bash\nls\n```\n",
        Err("a quotation does not end"),
    );
}
