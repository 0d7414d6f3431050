using Broker.Tests.Unit.Tidy;
using Xunit;

namespace Broker.Tests.Unit;

/// <summary>
/// Reads the repository's own sources and holds them to the house rules; each rule is also tried on a violation.
/// </summary>
public sealed class TidyTests
{
    /// <summary>What is forbidden elsewhere but right here, with the reason.</summary>
    private static readonly Dictionary<(string Path, string Rule), string> Allowed = new()
    {
        [("ServiceDefaults/StartupFailure.cs", "console")] = "the process ends there; no logger exists any more",
    };

    private static readonly HashSet<(string Path, string Rule)> Nothing = [];

    private static readonly Lazy<List<SourceFile>> Sources = new(SourceFile.All);

    [Fact]
    public void The_sources_are_found() =>
        Assert.Contains(Sources.Value, file => file.Path == "Broker/Domain/Limits.cs");

    [Fact]
    public void No_file_is_too_long() => Clean(TidyRules.Length);

    [Fact]
    public void No_class_is_too_long() => Assert.Empty(TidyRules.ClassLength(Sources.Value));

    [Fact]
    public void No_line_is_too_long() => Clean(TidyRules.LineLength);

    [Fact]
    public void No_file_has_a_vague_name() => Clean(TidyRules.VagueName);

    [Fact]
    public void Rooms_use_only_rooms_below_them() => Clean(TidyRules.OneWay);

    [Fact]
    public void Folders_of_a_room_use_only_folders_below_them() =>
        Assert.Empty(TidyRules.FoldersOneWay(Sources.Value));

    [Fact]
    public void Files_have_the_namespace_of_their_room() => Clean(TidyRules.Namespace);

    [Fact]
    public void Nothing_blocks_sleeps_reads_the_clock_or_writes_to_the_console() =>
        Clean(file => TidyRules.ForbiddenCall(file, Allowed.Keys.ToHashSet()));

    [Fact]
    public void Event_ids_are_unique() => Assert.Empty(TidyRules.DuplicateEventIds(Sources.Value));

    [Fact]
    public void Every_planted_bug_still_fits() => Assert.Empty(PlantedBugs.ThatDoNotFit());

    [Fact]
    public void Every_planted_bug_is_told_of() => Assert.Empty(PlantedBugs.ThatAreNotTold());

    [Theory]
    [InlineData(true, "--- a/A.cs", "+++ b/A.cs", "@@ -7,2 +7,2 @@", " b", "-c", "+x")]
    [InlineData(true, "--- a/A.cs", "+++ b/A.cs", "@@ -1,1 +1,1 @@", " a", "+x", " b", "@@ -3 +3 @@", "-c")]
    [InlineData(false, "--- a/A.cs", "+++ b/A.cs", "@@ -1,2 +1,2 @@", " a", "-c", "+x")]
    [InlineData(false, "--- a/A.cs", "+++ b/A.cs", "@@ -1,1 +1,1 @@", "-a", "+x", "@@ -3 +3 @@", " d")]
    public void A_planted_bug_fits_where_its_old_lines_are(bool fits, params string[] patch) =>
        Assert.Equal(fits, PlantedBugs.Misfits(patch, static _ => ["a", "b", "c"]).Count == 0);

    [Fact]
    public void Every_exception_is_still_needed()
    {
        var needed = Sources.Value.Where(file => Allowed.Keys.Any(exception => exception.Path == file.Path))
            .SelectMany(file => Allowed.Keys.Where(exception => exception.Path == file.Path)
                .Select(exception => (exception.Rule, Found: TidyRules.ForbiddenCall(file, Nothing))));

        Assert.All(needed, exception => Assert.Contains(
            exception.Found, violation => violation.Contains($"({exception.Rule})", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("Broker/Topics/Long.cs", 401, false)]
    [InlineData("Broker/Topics/Long.cs", 400, true)]
    [InlineData("Tests/Unit/Long.cs", 800, true)]
    [InlineData("Tests/Unit/Long.cs", 801, false)]
    public void The_length_rule_finds_a_long_file(string path, int lines, bool clean) =>
        Planted(TidyRules.Length, path, string.Concat(Enumerable.Repeat("x\n", lines)), clean);

    [Theory]
    [InlineData("Long", 400, true)]
    [InlineData("Long", 401, false)]
    [InlineData("RaftNode", 401, true)]
    public void The_class_rule_adds_up_the_files_of_a_class(string type, int lines, bool clean)
    {
        var text = $"internal sealed partial class {type}\n" + string.Concat(Enumerable.Repeat("x\n", lines - 1));
        var violations = TidyRules.ClassLength(
            [new SourceFile("Broker/Topics/A.cs", text), new SourceFile("Broker/Topics/A.B.cs", text)]);
        Assert.Equal(clean, !violations.Any());
    }

    [Theory]
    [InlineData(120, true)]
    [InlineData(121, false)]
    public void The_line_rule_finds_a_long_line(int columns, bool clean) =>
        Planted(TidyRules.LineLength, "Broker/A.cs", "a\r\n" + new string('x', columns) + "\r\n", clean);

    [Theory]
    [InlineData("Broker/Topics/TopicUtils.cs", false)]
    [InlineData("Broker/Common/Topic.cs", false)]
    [InlineData("Broker/Topics/ShardManager.Apply.cs", false)]
    [InlineData("Broker/Topics/CommonPrefix.cs", true)]
    public void The_name_rule_finds_a_vague_name(string path, bool clean) =>
        Planted(TidyRules.VagueName, path, "", clean);

    [Theory]
    [InlineData("Broker/Consensus/A.cs", "using Broker.Replication;", false)]
    [InlineData("Broker/Consensus/A.cs", "using Broker.Storage;", false)]
    [InlineData("Broker/Transport/A.cs", "using Broker.Consensus;", false)]
    [InlineData("Broker/Domain/A.cs", "var x = Broker.Topics.Table.Empty;", false)]
    [InlineData(
        "Broker/Replication/A.cs", "using Broker.Storage;\nusing Broker.Consensus;\nusing Broker.Domain;", true)]
    [InlineData("Broker/Consensus/A.cs", "using Broker.Diagnostics;\n// Broker.Api says so", true)]
    [InlineData("Broker/Topics/A.cs", "using Broker.Client;\nusing Broker.Protocol.V1;", true)]
    [InlineData("Broker/Program.cs", "using Broker.Api;", true)]
    public void The_room_rule_finds_an_upward_use(string path, string code, bool clean) =>
        Planted(TidyRules.OneWay, path, code, clean);

    [Theory]
    [InlineData("Broker/Storage/Device/A.cs", "private VoteThing? _vote;", false)]
    [InlineData("Broker/Storage/Identity/A.cs", "private GroupThing? _group;", false)]
    [InlineData("Broker/Storage/Attic/A.cs", "", false)]
    [InlineData("Broker/Storage/Segments/A.cs", "private VoteThing? _vote;", true)]
    [InlineData("Broker/Storage/A.cs", "private VoteThing? _vote;", true)]
    [InlineData("Broker/Storage/Device/A.cs", "enum Kind { VoteThing } // VoteThing", true)]
    [InlineData("Broker/Topics/A.cs", "private VoteThing? _vote;", true)]
    public void The_folder_rule_finds_an_upward_use(string path, string code, bool clean)
    {
        SourceFile[] files =
        [
            new(path, code),
            new("Broker/Storage/Identity/VoteThing.cs", "internal sealed record VoteThing;"),
            new("Broker/Storage/GroupThing.cs", "public sealed class GroupThing;"),
        ];

        Assert.Equal(clean, !TidyRules.FoldersOneWay(files).Any());
    }

    [Theory]
    [InlineData("namespace Broker.Api;", false)]
    [InlineData("namespace Broker.TopicsToo;", false)]
    [InlineData("namespace Broker.Topics;", true)]
    [InlineData("namespace Broker.Topics.Codec;", true)]
    public void The_namespace_rule_finds_a_stranger(string code, bool clean) =>
        Planted(TidyRules.Namespace, "Broker/Topics/A.cs", code, clean);

    [Theory]
    [InlineData("var x = task.Result;", false)]
    [InlineData("task.GetAwaiter().GetResult();", false)]
    [InlineData("task.Wait();", false)]
    [InlineData("private async void Run()", false)]
    [InlineData("var now = DateTime.UtcNow;", false)]
    [InlineData("var now = DateTimeOffset.Now;", false)]
    [InlineData("Thread.Sleep(1);", false)]
    [InlineData("Console.WriteLine(1);", false)]
    [InlineData("var s = \"a // not a comment\"; task.Wait();", false)]
    [InlineData("// task.Result would block; nor is DateTime.UtcNow read", true)]
    [InlineData("var s = \"Console.WriteLine\" + @\"Thread.Sleep\"; /* task.Wait() */", true)]
    [InlineData("var r = outcome.ResultCode; semaphore.WaitAsync();", true)]
    public void The_call_rule_finds_a_forbidden_call(string code, bool clean) =>
        Planted(file => TidyRules.ForbiddenCall(file, Nothing), "Broker/Topics/A.cs", code, clean);

    [Theory]
    [InlineData("AppHost/Program.cs")]
    [InlineData("Tests/Demo/A.cs")]
    public void Programs_for_people_may_write_to_the_console(string path) =>
        Planted(file => TidyRules.ForbiddenCall(file, Nothing), path, "Console.WriteLine(1);", clean: true);

    [Fact]
    public void The_event_id_rule_finds_a_second_use()
    {
        SourceFile[] files =
        [
            new("Broker/A.cs", "[LoggerMessage(1001, LogLevel.Information, \"a\")]\n[LoggerMessage(EventId = 1002)]"),
            new("Broker/B.cs", "[LoggerMessage(\n    1001, LogLevel.Information, \"b\")]"),
        ];

        var violation = Assert.Single(TidyRules.DuplicateEventIds(files));
        Assert.Contains("1001", violation, StringComparison.Ordinal);
        Assert.Contains("Broker/B.cs:1", violation, StringComparison.Ordinal);
    }

    private static void Clean(Func<SourceFile, IEnumerable<string>> rule)
    {
        var violations = Sources.Value.SelectMany(rule).ToList();
        Assert.True(violations.Count == 0, string.Join('\n', violations.Prepend($"{violations.Count} violations:")));
    }

    private static void Planted(Func<SourceFile, IEnumerable<string>> rule, string path, string text, bool clean) =>
        Assert.Equal(clean, !rule(new SourceFile(path, text)).Any());
}
