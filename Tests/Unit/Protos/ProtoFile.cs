using System.Globalization;
using System.Text.RegularExpressions;
using Broker.Tests.Unit.Tidy;

namespace Broker.Tests.Unit.Protos;

/// <summary>
/// The declarations of one .proto file with the comments above them, which descriptors do not keep. It reads the style
/// that this repository writes: one declaration a line, comments above.
/// </summary>
internal sealed partial class ProtoFile
{
    private ProtoFile(string path, string text)
    {
        Path = path;
        Read(text);
    }

    public string Path { get; }

    public List<Declaration> Declarations { get; } = [];

    public static ProtoFile Parse(string path, string text) => new(path, text);

    public static ProtoFile Load(string path) =>
        new(path, File.ReadAllText(System.IO.Path.Combine(SourceFile.Root(), "Protos", path)));

    /// <summary>Every .proto file of the repository; paths are relative to Protos, with forward slashes.</summary>
    public static IEnumerable<ProtoFile> All()
    {
        var root = System.IO.Path.Combine(SourceFile.Root(), "Protos");
        return Directory.EnumerateFiles(root, "*.proto", SearchOption.AllDirectories)
            .Select(file => System.IO.Path.GetRelativePath(root, file).Replace('\\', '/'))
            .Where(path => !path.StartsWith("obj/", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(Load);
    }

    /// <summary>Numbers and names that are used twice, or although they are reserved.</summary>
    public IEnumerable<string> Reuses()
    {
        foreach (var scope in Declarations.Where(each => each.Kind is not Kind.Rpc).GroupBy(each => each.Scope))
        {
            var members = scope.Where(each => each.Kind is Kind.Field or Kind.Value).ToList();
            foreach (var reserved in scope.Where(each => each.Kind == Kind.Reserved))
            {
                foreach (var member in members.Where(reserved.Reserves))
                {
                    yield return $"{Path}: {scope.Key}.{member.Name} = {member.Number} is reserved.";
                }
            }

            foreach (var same in members.GroupBy(each => each.Number).Where(group => group.Count() > 1))
            {
                var names = string.Join(" and ", same.Select(each => each.Name));
                yield return $"{Path}: {scope.Key} uses {same.Key} for {names}.";
            }
        }
    }

    private void Read(string text)
    {
        var scopes = new Stack<(string Name, bool IsOneOf)>();
        var comment = new List<string>();
        var package = "";
        foreach (var line in text.Split('\n').Select(line => line.Trim()))
        {
            if (line.StartsWith("//", StringComparison.Ordinal))
            {
                comment.Add(line[2..].Trim());
                continue;
            }

            // A oneof shares the numbers of its message.
            var scope = string.Join('.', scopes.Where(each => !each.IsOneOf).Reverse().Select(each => each.Name));
            if (PackageLine().Match(line) is { Success: true } named)
            {
                package = named.Groups["name"].Value;
                scopes.Push((package, false));
            }
            else if (BlockLine().Match(line) is { Success: true } block)
            {
                var isOneOf = block.Groups["kind"].Value == "oneof";
                Add(Kind.Block, scope, block.Groups["name"].Value, 0, comment);
                if (!line.EndsWith("{}", StringComparison.Ordinal))
                {
                    scopes.Push((block.Groups["name"].Value, isOneOf));
                }
            }
            else if (line == "}")
            {
                scopes.Pop();
            }
            else
            {
                ReadMember(line, scope, comment);
            }

            comment.Clear();
        }
    }

    private void ReadMember(string line, string scope, List<string> comment)
    {
        if (RpcLine().Match(line) is { Success: true } rpc)
        {
            Add(Kind.Rpc, scope, rpc.Groups["name"].Value, 0, comment);
        }
        else if (line.StartsWith("reserved ", StringComparison.Ordinal))
        {
            Add(Kind.Reserved, scope, line["reserved ".Length..].TrimEnd(';'), 0, comment);
        }
        else if (FieldLine().Match(line) is { Success: true } field)
        {
            var number = int.Parse(field.Groups["number"].Value, CultureInfo.InvariantCulture);
            var kind = field.Groups["type"].Success ? Kind.Field : Kind.Value;
            Add(kind, scope, field.Groups["name"].Value, number, comment);
        }
    }

    private void Add(Kind kind, string scope, string name, int number, List<string> comment) =>
        Declarations.Add(new Declaration(kind, scope, name, number, string.Join(' ', comment)));

    [GeneratedRegex(@"^package (?<name>[\w.]+);")]
    private static partial Regex PackageLine();

    [GeneratedRegex(@"^(?<kind>message|enum|service|oneof) (?<name>\w+) \{")]
    private static partial Regex BlockLine();

    [GeneratedRegex(@"^rpc (?<name>\w+)\(")]
    private static partial Regex RpcLine();

    [GeneratedRegex(@"^(?:(?:repeated |optional )?(?<type>map<[\w., ]+>|[\w.]+) )?(?<name>\w+) = (?<number>\d+);")]
    private static partial Regex FieldLine();

    internal enum Kind
    {
        Block,
        Field,
        Value,
        Rpc,
        Reserved,
    }

    /// <summary>
    /// Scope is the full name of the message, enum or service; Comment is the text above, in one line. The name of a
    /// reserved statement is its list: <c>3, 5 to 7</c> or <c>"old_name"</c>.
    /// </summary>
    internal sealed record Declaration(Kind Kind, string Scope, string Name, int Number, string Comment)
    {
        public string FullName => $"{Scope}.{Name}";

        public bool IsNotInThisVersion => Comment.Contains("Not in this version", StringComparison.Ordinal);

        public bool Reserves(Declaration member) => Name.Split(", ").Any(part =>
        {
            if (part.StartsWith('"'))
            {
                return part.Trim('"') == member.Name;
            }

            var ends = part.Split(" to ");
            return member.Number >= int.Parse(ends[0], CultureInfo.InvariantCulture)
                && (ends[^1] == "max" || member.Number <= int.Parse(ends[^1], CultureInfo.InvariantCulture));
        });
    }
}
