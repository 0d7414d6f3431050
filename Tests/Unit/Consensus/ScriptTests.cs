using System.Runtime.CompilerServices;
using System.Text;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// Scenes, each with the whole trace that its commands leave: every write, message and commit of every node. A scene is
/// a file in Scripts: a line that begins with <c>&gt; </c> is a command (<see cref="ScriptCommands"/>), the lines
/// indented by two spaces below it are its trace, all others are for the reader.
/// <para> When a change of Raft's behaviour is meant, <c>BROKER_REWRITE_SCRIPTS=1</c> writes the new traces into the
/// files; read each of them before you commit it. </para>
/// </summary>
public sealed class ScriptTests
{
    private const string Rewrite = "BROKER_REWRITE_SCRIPTS";

    public static TheoryData<string> Scenes =>
        [.. Directory.EnumerateFiles(Folder(), "*.txt").Select(static path => Path.GetFileNameWithoutExtension(path))
            .Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Scenes))]
    public void Scene_leaves_the_expected_trace(string scene)
    {
        var path = Path.Combine(Folder(), scene + ".txt");
        var expected = File.ReadAllText(path).ReplaceLineEndings("\n");

        var actual = Play(expected);

        if (actual != expected && Environment.GetEnvironmentVariable(Rewrite) == "1")
        {
            Assert.True(Environment.GetEnvironmentVariable("CI") is null or "", $"{Rewrite} is not for CI");
            File.WriteAllText(path, actual);
            return;
        }

        Assert.True(
            actual == expected,
            $"Scripts/{scene}.txt has another trace:\n{ScriptDiff.Unified(expected, actual)}\n"
            + $"If it is right, set {Rewrite}=1 and run this test again: it writes the trace into the file.");
    }

    [Fact]
    public void The_scenes_are_found() => Assert.True(Scenes.Count >= 16);

    [Fact]
    public void A_trace_that_differs_is_rewritten_and_shown()
    {
        const string wrong = "# One node.\n> group 1\n> start\n> timeout 1\n  1 sleeps\n\nEnd.\n";

        var actual = Play(wrong);

        Assert.StartsWith("# One node.\n> group 1\n> start\n> timeout 1\n  1 ", actual, StringComparison.Ordinal);
        Assert.EndsWith("  1 commits 1\n\nEnd.\n", actual, StringComparison.Ordinal);
        Assert.Equal(actual, Play(actual));
        var difference = ScriptDiff.Unified(wrong, actual).Split('\n');
        Assert.Contains("-  1 sleeps", difference);
        Assert.Contains("+  1 commits 1", difference);
        Assert.Contains(" > timeout 1", difference);
    }

    [Theory]
    [InlineData("> dance")]
    [InlineData("> group 3\n> start\n> deliver 1->2")]
    [InlineData("> group 3\n> start\n> timeout 4")]
    public void A_command_that_makes_no_sense_is_refused_with_its_line(string scene)
    {
        var refused = Assert.Throws<InvalidDataException>(() => Play(scene));

        Assert.Contains($"line {scene.Split('\n').Length}:", refused.Message, StringComparison.Ordinal);
    }

    /// <summary>Runs a scene; the answer is its text with the trace that it left.</summary>
    private static string Play(string scene)
    {
        var world = new ScriptWorld();
        var commands = new ScriptCommands(world);
        var played = new StringBuilder();
        var lines = scene.Split('\n');
        for (var i = 0; i < lines.Length; i++)
        {
            if (lines[i].StartsWith("  ", StringComparison.Ordinal))
            {
                continue;
            }

            played.Append(lines[i]).Append(i == lines.Length - 1 ? "" : "\n");
            if (lines[i].StartsWith("> ", StringComparison.Ordinal))
            {
                Run(commands, lines[i][2..], i + 1, world);
                played.AppendJoin("", world.TakeTrace().Select(static line => $"  {line}\n"));
            }
        }

        return played.ToString();
    }

    private static void Run(ScriptCommands commands, string command, int line, ScriptWorld world)
    {
        try
        {
            commands.Run(command);
        }
        catch (Exception exception)
        {
            var trace = string.Join("\n  ", world.TakeTrace().Prepend(""));
            throw new InvalidDataException($"line {line}: {command}: {exception.Message}{trace}", exception);
        }
    }

    private static string Folder([CallerFilePath] string here = "") =>
        Path.Combine(Path.GetDirectoryName(here)!, "Scripts");
}
