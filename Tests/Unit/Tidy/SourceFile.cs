using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;

namespace Broker.Tests.Unit.Tidy;

/// <summary>One C# file that is checked in. Path is relative to the repository, with forward slashes.</summary>
internal sealed partial record SourceFile(string Path, string Text)
{
    private static readonly string[] Built = ["bin", "obj", "Generated", "artifacts", "node_modules"];

    public string[] Lines { get; } = Text.Split('\n');

    /// <summary>
    /// The text without comments, and without what stands in strings; line breaks stay, so that lines keep their
    /// numbers.
    /// </summary>
    public string Code { get; } = CommentOrString().Replace(Text, Blank);

    public bool IsTest => Path.StartsWith("Tests/", StringComparison.Ordinal);

    public string Name => Path[(Path.LastIndexOf('/') + 1)..];

    public static string Root([CallerFilePath] string here = "") =>
        System.IO.Path.GetFullPath(System.IO.Path.Combine(System.IO.Path.GetDirectoryName(here)!, "../../.."));

    public static List<SourceFile> All()
    {
        var root = Root();
        return
        [
            .. Directory.EnumerateFiles(root, "*.cs", SearchOption.AllDirectories)
                .Select(file => System.IO.Path.GetRelativePath(root, file).Replace('\\', '/'))
                .Where(path => !path.StartsWith('.') && !path.Split('/').Any(Built.Contains))
                .Order(StringComparer.Ordinal)
                .Select(path => new SourceFile(path, File.ReadAllText(System.IO.Path.Combine(root, path)))),
        ];
    }

    public int LineOf(int position) => Text.AsSpan(0, position).Count('\n') + 1;

    public static string Blank(Match match) =>
        string.Concat(match.Value.Select(character => character == '\n' ? '\n' : ' '));

    // In this order: raw strings, verbatim strings, plain strings, characters, both kinds of comments.
    [GeneratedRegex(
        "\"\"\".*?\"\"\"|[$]?@[$]?\"(?:[^\"]|\"\")*\"|\"(?:[^\"\\\\\\n]|\\\\.)*\"|'(?:[^'\\\\\\n]|\\\\.)+'|//[^\\n]*"
        + "|/\\*.*?\\*/",
        RegexOptions.Singleline)]
    private static partial Regex CommentOrString();
}
