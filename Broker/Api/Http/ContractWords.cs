using System.Text.RegularExpressions;
using Broker.Protocol.V1;

namespace Broker.Api;

/// <summary>
/// What the contract's comments say of its calls, messages and fields: read from the .proto files that the program
/// carries, so that each word stands in one place.
/// </summary>
internal static partial class ContractWords
{
    private static readonly Lazy<Dictionary<string, string>> Words = new(Read);

    /// <summary>The comment of "ListTopics", "TopicConfig", "TopicConfig.max_age_ms"; empty: there is none.</summary>
    public static string Of(string name) => Words.Value.GetValueOrDefault(name, "");

    private static Dictionary<string, string> Read()
    {
        var words = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var file in (string[])["broker.proto", "admin.proto"])
        {
            using var stream = typeof(Admin).Assembly.GetManifestResourceStream(file)
                ?? throw new InvalidOperationException($"The program does not carry {file}.");
            using var reader = new StreamReader(stream);
            Read(reader.ReadToEnd(), words);
        }

        return words;
    }

    /// <summary>
    /// Example: "// As it was put." above "string filter = 1;" in "message DeleteTopicTemplateRequest {" is the comment
    /// of DeleteTopicTemplateRequest.filter. A oneof's fields are their message's.
    /// </summary>
    private static void Read(string proto, Dictionary<string, string> words)
    {
        var comment = new List<string>();
        var message = "";
        foreach (var line in proto.Split('\n').Select(static line => line.Trim()))
        {
            if (line.StartsWith("//", StringComparison.Ordinal))
            {
                comment.Add(line[2..].Trim());
                continue;
            }

            if (Block().Match(line) is { Success: true } block)
            {
                message = block.Groups["name"].Value;
                words[message] = string.Join(' ', comment);
            }
            else if (Call().Match(line) is { Success: true } call)
            {
                words[call.Groups["name"].Value] = string.Join(' ', comment);
            }
            else if (Field().Match(line) is { Success: true } field)
            {
                words[$"{message}.{field.Groups["name"].Value}"] = string.Join(' ', comment);
            }

            comment.Clear();
        }
    }

    [GeneratedRegex(@"^(message|enum) (?<name>\w+) \{")]
    private static partial Regex Block();

    [GeneratedRegex(@"^rpc (?<name>\w+)\(")]
    private static partial Regex Call();

    [GeneratedRegex(@"^(repeated )?[\w.]+ (?<name>\w+) = \d+;|^(?<name>[A-Z_0-9]+) = \d+;")]
    private static partial Regex Field();
}
