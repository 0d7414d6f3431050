using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Broker.Client;

namespace Broker.Topics;

/// <summary>What topics to come are given whose names a filter matches.</summary>
/// <param name="Filter">Which topics; also the template's name: there is one for a filter.</param>
/// <param name="Partitions">How many a topic has; 0: not set.</param>
/// <param name="Parts">Which of the settings are set.</param>
/// <param name="Settings">The settings; the others have their defaults.</param>
internal sealed record TopicTemplate(
    TopicFilter Filter, int Partitions, TopicSettingParts Parts, TopicSettings Settings);

/// <summary>How topics come to be, after some applied entry. Immutable.</summary>
internal sealed class TopicPolicies
{
    private static readonly Comparer<string[]> Specificity = Comparer<string[]>.Create(Compare);

    public static readonly TopicPolicies Default = new(
        true, ImmutableSortedDictionary.Create<string, TopicTemplate>(StringComparer.Ordinal));

    private readonly TopicTemplate[] _bySpecificity;

    private TopicPolicies(bool autoCreate, ImmutableSortedDictionary<string, TopicTemplate> templates)
    {
        AutoCreate = autoCreate;
        Templates = templates;
        _bySpecificity = [.. templates.Values];
        Array.Sort(templates.Keys.Select(static filter => filter.Split('.')).ToArray(), _bySpecificity, Specificity);
    }

    /// <summary>Whether the first publish to a name makes a topic.</summary>
    public bool AutoCreate { get; }

    /// <summary>By the text of the filter.</summary>
    public ImmutableSortedDictionary<string, TopicTemplate> Templates { get; }

    /// <summary>A topic of any name may be made by its first publish, with default settings.</summary>
    public bool IsDefault => AutoCreate && _bySpecificity.Length == 0;

    public TopicPolicies With(IEnumerable<TopicTemplate> templates) => new(
        AutoCreate, Templates.SetItems(templates.Select(static each => KeyValuePair.Create($"{each.Filter}", each))));

    public TopicPolicies With(TopicTemplate template) =>
        new(AutoCreate, Templates.SetItem($"{template.Filter}", template));

    public TopicPolicies Without(string filter) => new(AutoCreate, Templates.Remove(filter));

    public TopicPolicies WithAutoCreate(bool autoCreate) => new(autoCreate, Templates);

    /// <summary>
    /// The template for a topic of that name. Of several the most specific: at the first token in which their filters
    /// differ, a word comes before '*', and '*' before '&gt;'. Two that match one name differ in that, so it is one.
    /// </summary>
    public bool TryMatch(string topic, [NotNullWhen(true)] out TopicTemplate? template)
    {
        template = Array.Find(_bySpecificity, each => each.Filter.Matches(topic));
        return template is not null;
    }

    private static int Compare(string[] ours, string[] theirs)
    {
        for (var i = 0; i < ours.Length && i < theirs.Length; i++)
        {
            var order = RankOf(ours[i]).CompareTo(RankOf(theirs[i]));
            order = order == 0 ? string.CompareOrdinal(ours[i], theirs[i]) : order;
            if (order != 0)
            {
                return order;
            }
        }

        return ours.Length.CompareTo(theirs.Length);
    }

    private static int RankOf(string token) => token switch
    {
        "*" => 1,
        ">" => 2,
        _ => 0,
    };
}
