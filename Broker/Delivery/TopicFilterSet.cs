using System.Diagnostics.CodeAnalysis;
using Broker.Client;

namespace Broker.Delivery;

/// <summary>
/// Many filters at once, as a tree of tokens, so that a topic is matched in steps that depend on its own length and not
/// on the number of filters. Immutable once built.
/// </summary>
internal sealed class TopicFilterSet
{
    private readonly Node _root = new();

    public TopicFilterSet(IEnumerable<TopicFilter> filters)
    {
        foreach (var filter in filters)
        {
            IsEmpty = false;
            Add(filter);
        }
    }

    public bool IsEmpty { get; } = true;

    public bool Matches(string topic) => Matches(_root, topic);

    private static bool Matches(Node node, ReadOnlySpan<char> rest)
    {
        if (node.HasRest)
        {
            return true;
        }

        var dot = rest.IndexOf('.');
        var token = dot < 0 ? rest : rest[..dot];
        return (node.TryGetLiteral(token, out var literal) && MatchesAfter(literal, rest, dot))
            || (node.AnyToken is { } any && MatchesAfter(any, rest, dot));
    }

    private static bool MatchesAfter(Node node, ReadOnlySpan<char> rest, int dot) =>
        dot < 0 ? node.IsEnd : Matches(node, rest[(dot + 1)..]);

    private void Add(TopicFilter filter)
    {
        var node = _root;
        foreach (var token in filter.ToString().Split('.'))
        {
            if (token == ">")
            {
                node.HasRest = true;
                return;
            }

            node = token == "*" ? node.AnyToken ??= new Node() : node.GetOrAddLiteral(token);
        }

        node.IsEnd = true;
    }

    private sealed class Node
    {
        private Dictionary<string, Node>? _literals;

        /// <summary>A filter ends here.</summary>
        public bool IsEnd { get; set; }

        /// <summary>A filter goes on with '>': at least one more token, whatever it is.</summary>
        public bool HasRest { get; set; }

        /// <summary>Filters that go on with '*'.</summary>
        public Node? AnyToken { get; set; }

        public bool TryGetLiteral(ReadOnlySpan<char> token, [NotNullWhen(true)] out Node? node)
        {
            node = null;
            return _literals is not null
                && _literals.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(token, out node);
        }

        public Node GetOrAddLiteral(string token)
        {
            _literals ??= new Dictionary<string, Node>(StringComparer.Ordinal);
            if (!_literals.TryGetValue(token, out var node))
            {
                node = new Node();
                _literals.Add(token, node);
            }

            return node;
        }
    }
}
