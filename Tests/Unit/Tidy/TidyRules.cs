using System.Text.RegularExpressions;

namespace Broker.Tests.Unit.Tidy;

/// <summary>
/// The house rules that a compiler does not know. Each takes a file and gives its violations, one sentence each.
/// </summary>
internal static partial class TidyRules
{
    public const int ProductLines = 400;
    public const int TestLines = 800;

    /// <summary>Of a class of the broker, over all its files.</summary>
    public const int ClassLines = 800;
    public const int Columns = 120;

    /// <summary>Rooms of Broker/ from the top: a room uses only rooms of a lower level.</summary>
    private static readonly string[][] Levels =
    [
        ["Api"],
        ["Delivery"],
        ["Cluster"],
        ["Groups"],
        ["Topics", "ClusterState"],
        ["State"],
        ["Replication"],
        ["Consensus", "Storage", "Transport"],
        ["Diagnostics"],
        ["Domain"],
    ];

    /// <summary>
    /// Folders of a room from the top: a folder uses only those that stand after it, and the files of the room itself
    /// stand above all of them.
    /// </summary>
    private static readonly Dictionary<string, string[]> Folders = new()
    {
        ["Storage"] = ["Upkeep", "Log", "Recovery", "SideFiles", "Segments", "Identity", "Files", "Device"],
    };

    /// <summary>Classes that may have more lines, and why: see ARCHITECTURE.md, "Left for later".</summary>
    private static readonly Dictionary<string, int> LongClasses = new()
    {
        ["RaftNode"] = 1_800, // What could leave it uses a dozen of its fields each.
    };

    private static readonly string[] VagueNames =
        ["Utils", "Util", "Helpers", "Helper", "Common", "Manager", "Managers"];

    private static readonly (string Rule, Regex Pattern, string Instead)[] Calls =
    [
        ("result", ResultCall(), "await the task"),
        ("wait", WaitCall(), "await the task"),
        ("async void", AsyncVoid(), "return a Task: an exception of an async void method ends the process"),
        ("clock", Clock(), "take a TimeProvider, so that tests and simulations own the time"),
        ("sleep", Sleep(), "await Task.Delay with a TimeProvider"),
        ("console", ConsoleCall(), "log"),
    ];

    public static IEnumerable<string> Length(SourceFile file)
    {
        var limit = file.IsTest ? TestLines : ProductLines;
        if (file.Lines.Length > limit + 1)
        {
            yield return $"{file.Path} has {file.Lines.Length} lines; the limit is {limit}. Split it by aspect.";
        }
    }

    /// <summary>A class that is split into files is as long as all of them together.</summary>
    public static IEnumerable<string> ClassLength(IEnumerable<SourceFile> files) =>
        from file in files
        where file.Path.StartsWith("Broker/", StringComparison.Ordinal)
        let match = PartialName().Match(file.Code)
        where match.Success
        group file.Lines.Length - 1 by (Room: RoomOf(file.Path), Type: match.Groups["type"].Value) into parts
        let lines = parts.Sum()
        let limit = LongClasses.GetValueOrDefault(parts.Key.Type, ClassLines)
        where lines > limit
        select $"{parts.Key.Type} in Broker/{parts.Key.Room} has {lines} lines over {parts.Count()} files; the limit "
            + $"is {limit}. Give what uses few of its fields a class of its own.";

    public static IEnumerable<string> LineLength(SourceFile file) => file.Lines
        .Select((line, index) => (Line: line.TrimEnd('\r'), Number: index + 1))
        .Where(line => line.Line.Length > Columns)
        .Select(line => $"{file.Path}:{line.Number} has {line.Line.Length} columns; the limit is {Columns}.");

    public static IEnumerable<string> VagueName(SourceFile file)
    {
        var words = file.Path[..^".cs".Length].Split('/', '.');
        var vague = words.FirstOrDefault(word => VagueNames.Any(name => word.EndsWith(name, StringComparison.Ordinal)));
        if (vague is not null)
        {
            yield return $"{file.Path}: '{vague}' says nothing. Name the file after its one job.";
        }
    }

    public static IEnumerable<string> OneWay(SourceFile file)
    {
        var room = RoomOf(file.Path);
        if (room is null)
        {
            yield break;
        }

        foreach (Match match in RoomName().Matches(file.Code))
        {
            var used = match.Groups["room"].Value;
            if (used != room && LevelOf(used) is { } level && level <= LevelOf(room))
            {
                yield return $"{file.Path}:{file.LineOf(match.Index)}: {room} must not use {used}; "
                    + "a room uses only rooms below it (ARCHITECTURE.md, \"The house\").";
            }
        }
    }

    /// <summary>
    /// All files of a room have one namespace, so what a folder uses is told by the names of the types. A type that is
    /// declared in several folders belongs to the lowest of them.
    /// </summary>
    public static IEnumerable<string> FoldersOneWay(IEnumerable<SourceFile> files)
    {
        foreach (var room in files.GroupBy(static file => RoomOf(file.Path)))
        {
            if (room.Key is not null && Folders.TryGetValue(room.Key, out var folders))
            {
                foreach (var violation in FoldersOneWay(folders, [.. room]))
                {
                    yield return violation;
                }
            }
        }
    }

    /// <summary>A file of a room that claims another room's namespace would slip through the rule above.</summary>
    public static IEnumerable<string> Namespace(SourceFile file)
    {
        var room = RoomOf(file.Path);
        var match = NamespaceLine().Match(file.Code);
        if (room is not null && match.Success
            && match.Groups["name"].Value is var name
            && name != $"Broker.{room}" && !name.StartsWith($"Broker.{room}.", StringComparison.Ordinal))
        {
            yield return $"{file.Path} stands in the room {room} but in namespace {name}.";
        }
    }

    /// <summary>Calls that block, hide or escape. The allowed ones are (path, rule).</summary>
    public static IEnumerable<string> ForbiddenCall(
        SourceFile file, IReadOnlySet<(string Path, string Rule)> allowed) =>
        from call in Calls
        where !file.IsTest && !allowed.Contains((file.Path, call.Rule)) && !MayWrite(file, call.Rule)
        from Match match in call.Pattern.Matches(file.Code)
        select $"{file.Path}:{file.LineOf(match.Index)}: '{match.Value.Trim()}' is forbidden ({call.Rule}): "
            + $"{call.Instead}.";

    public static IEnumerable<string> DuplicateEventIds(IEnumerable<SourceFile> files) =>
        from file in files
        where !file.IsTest
        from Match match in EventId().Matches(file.Code)
        group $"{file.Path}:{file.LineOf(match.Index)}" by match.Groups["id"].Value into same
        where same.Count() > 1
        select $"Event id {same.Key} stands at {string.Join(" and ", same)}.";

    private static IEnumerable<string> FoldersOneWay(string[] folders, List<SourceFile> files)
    {
        var types = (
            from file in files
            from Match match in TypeName().Matches(file.Code)
            group FloorOf(file, folders) by match.Groups["type"].Value)
            .ToDictionary(static type => type.Key, static type => type.Min());
        foreach (var file in files)
        {
            var floor = FloorOf(file, folders);
            if (floor < 0)
            {
                yield return $"{file.Path} stands in a folder that {nameof(TidyRules)} does not know.";
                continue;
            }

            // A member of an enumeration may be named like a type.
            foreach (Match word in Word().Matches(EnumMembers().Replace(file.Code, SourceFile.Blank)))
            {
                if (types.TryGetValue(word.Value, out var used) && used > floor)
                {
                    yield return $"{file.Path}:{file.LineOf(word.Index)}: a type of this folder must not use "
                        + $"{word.Value}; a folder uses only those below it.";
                }
            }
        }
    }

    /// <summary>Counted from the lowest folder, 0; the room itself is the highest. Negative: unknown.</summary>
    private static int FloorOf(SourceFile file, string[] folders)
    {
        var parts = file.Path.Split('/');
        var folder = Array.IndexOf(folders, parts[2]);
        return parts.Length == 3 ? folders.Length : folder < 0 ? -1 : folders.Length - 1 - folder;
    }

    private static bool MayWrite(SourceFile file, string rule) =>
        rule == "console" && file.Path.StartsWith("AppHost/", StringComparison.Ordinal);

    private static string? RoomOf(string path)
    {
        var parts = path.Split('/');
        return parts.Length > 2 && parts[0] == "Broker" && LevelOf(parts[1]) is not null ? parts[1] : null;
    }

    private static int? LevelOf(string room)
    {
        var level = Array.FindIndex(Levels, rooms => rooms.Contains(room));
        return level < 0 ? null : level;
    }

    [GeneratedRegex(@"\.Result\b|\.GetAwaiter\(\)\s*\.GetResult\(\)")]
    private static partial Regex ResultCall();

    [GeneratedRegex(@"\.Wait\(\)")]
    private static partial Regex WaitCall();

    [GeneratedRegex(@"\basync\s+void\b")]
    private static partial Regex AsyncVoid();

    [GeneratedRegex(@"\bDateTime(?:Offset)?\.(?:UtcNow|Now|Today)\b")]
    private static partial Regex Clock();

    [GeneratedRegex(@"\bThread\.Sleep\b")]
    private static partial Regex Sleep();

    [GeneratedRegex(@"\bConsole\.(?:Write|WriteLine|Error|Out)\b")]
    private static partial Regex ConsoleCall();

    [GeneratedRegex(@"\bBroker\.(?<room>[A-Z]\w*)\b")]
    private static partial Regex RoomName();

    [GeneratedRegex(@"^namespace\s+(?<name>[\w.]+)", RegexOptions.Multiline)]
    private static partial Regex NamespaceLine();

    [GeneratedRegex(
        @"^(?:public|internal) [\w ]*\b(?:class|struct|interface|enum|record(?: class| struct)?) (?<type>\w+)",
        RegexOptions.Multiline)]
    private static partial Regex TypeName();

    [GeneratedRegex(
        @"^(?:public|internal) [\w ]*\bpartial (?:class|record|struct) (?<type>\w+)", RegexOptions.Multiline)]
    private static partial Regex PartialName();

    [GeneratedRegex(@"\b[A-Z]\w*\b")]
    private static partial Regex Word();

    [GeneratedRegex(@"(?<=\benum\s+\w+\s*)\{[^}]*\}")]
    private static partial Regex EnumMembers();

    [GeneratedRegex(@"\bLoggerMessage\s*\(\s*(?:EventId\s*=\s*)?(?<id>\d+)")]
    private static partial Regex EventId();
}
