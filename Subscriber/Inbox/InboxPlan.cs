using Subscriber.Following;

namespace Subscriber.Inbox;

/// <summary>
/// What one transaction may store: of the appends that wait, what continues the positions that the inbox has. What is
/// there already is left out; what lies beyond a position is left out too, and its topic named. Pure.
/// </summary>
internal sealed class InboxPlan
{
    private readonly List<(TopicPlace Place, MessageRun Run)> _runs = [];
    private readonly Dictionary<TopicPlace, long> _moved = [];
    private readonly Dictionary<TopicProgress, (long Expected, long Actual)> _beyond = [];

    private InboxPlan()
    {
    }

    public IReadOnlyList<(TopicPlace Place, MessageRun Run)> Runs => _runs;

    /// <summary>Topics and the positions that they get.</summary>
    public IReadOnlyDictionary<TopicPlace, long> Moved => _moved;

    /// <summary>Topics whose appends lie beyond the inbox's position.</summary>
    public IReadOnlyDictionary<TopicProgress, (long Expected, long Actual)> Beyond => _beyond;

    public int Rows { get; private set; }

    public static InboxPlan Make(
        IReadOnlyList<InboxAppend> appends, IReadOnlyDictionary<TopicPlace, long> positions)
    {
        var plan = new InboxPlan();
        foreach (var append in appends)
        {
            var place = append.Topic.Place;
            var position = plan._moved.TryGetValue(place, out var moved) ? moved : positions.GetValueOrDefault(place);
            plan.Place(append, position);
        }

        return plan;
    }

    private void Place(InboxAppend append, long position)
    {
        if (append.ExpectedOffset > position)
        {
            _beyond.TryAdd(append.Topic, (append.ExpectedOffset, position));
            return;
        }

        if (append.Run.EndOffset > position)
        {
            var run = append.Run.From(position);
            _runs.Add((append.Topic.Place, run));
            _moved[append.Topic.Place] = run.EndOffset;
            Rows += run.Count;
        }
    }
}
