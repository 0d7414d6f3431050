using Broker.Domain;

namespace Broker.Tests.Unit.Consensus;

/// <summary>The words <c>name=value</c> at the end of a command.</summary>
internal sealed class ScriptOptions
{
    private readonly Dictionary<string, string> _values = [];

    public ScriptOptions(IEnumerable<string> words)
    {
        foreach (var word in words)
        {
            var equals = word.IndexOf('=', StringComparison.Ordinal);
            _values.Add(word[..equals], word[(equals + 1)..]);
        }
    }

    public int Number(string name, int otherwise) =>
        _values.TryGetValue(name, out var value) ? ScriptText.Number(value) : otherwise;

    /// <summary>An entry's index and term, <c>5/3</c>.</summary>
    public LogPosition Position(string name)
    {
        var parts = _values.GetValueOrDefault(name, "0/0").Split('/');
        return new LogPosition(new LogIndex(ScriptText.Number(parts[0])), new Term(ScriptText.Number(parts[1])));
    }

    /// <summary>Numbers with commas between them; <c>2x400</c> stands for four hundred times 2.</summary>
    public IEnumerable<int> Numbers(string name)
    {
        foreach (var word in _values.GetValueOrDefault(name, "").Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = word.Split('x');
            var count = parts.Length == 2 ? ScriptText.Number(parts[1]) : 1;
            for (var i = 0; i < count; i++)
            {
                yield return ScriptText.Number(parts[0]);
            }
        }
    }
}
