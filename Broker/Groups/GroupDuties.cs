using System.Buffers;
using Broker.ClusterState;
using Broker.Topics;

namespace Broker.Groups;

/// <summary>
/// What a shard's leader proposes because groups come and go. Group 0 says which there are; the leader looks at its
/// state on the own node, which may lag. Numbers of groups rise, so a group that is not there was deleted when a later
/// one came to be there, else it is still to come.
/// </summary>
/// <param name="cluster">The groups of the cluster, as this node knows them.</param>
/// <param name="own">The shard's progress.</param>
/// <param name="inBackground">
/// Runs work that reads files, later: where records of a time are stands in index files, and the loop waits for no
/// disk.
/// </param>
internal sealed class GroupDuties(
    Func<ConsumerGroups> cluster, GroupProgressModule own, Action<Action> inBackground)
{
    private const int StartsAtOnce = 5_000;

    // Where the look goes on: behind the group of this number, first among those that are here.
    private int _closedTo = -1;
    private int _openedTo = -1;

    /// <summary>One at a time.</summary>
    private StartSearch? _search;

    /// <summary>One command at a time, of each group one in a look; false: the look has come to its end.</summary>
    public bool TryWrite(long nowUnixMs, IBufferWriter<byte> command)
    {
        var groups = cluster();
        foreach (var number in own.Groups.Keys)
        {
            if (number > _closedTo && number < groups.NextNumber && groups.Find(number) is null)
            {
                _closedTo = number;
                GroupCommands.WriteClose(command, number);
                return true;
            }
        }

        _closedTo = int.MaxValue;
        foreach (var group in groups.ByNumber.Values)
        {
            if (group.Number <= _openedTo)
            {
                continue;
            }

            var here = own.Groups.GetValueOrDefault(group.Number);
            if (here?.IsOpen != true && TryOpen(group, here, out var open))
            {
                _openedTo = group.Number;
                GroupCommands.WriteOpen(command, open);
                return true;
            }
        }

        (_closedTo, _openedTo) = (-1, -1);
        return false;
    }

    /// <summary>
    /// Where the group begins in the next topics that were there when it came. A topic that comes meanwhile is followed
    /// from its beginning, as all that come later. False: that is looked for.
    /// </summary>
    private bool TryOpen(ConsumerGroup group, GroupHere? here, out OpenGroupCommand open)
    {
        var first = here?.OpenedTo ?? 0;
        var before = here?.Before ?? own.Topics.NextNumber;
        open = new OpenGroupCommand(group.Number, first, before, before, []);
        if (group.Start.Kind == GroupStartKind.Beginning)
        {
            return true;
        }

        if (group.Start.Kind == GroupStartKind.Time)
        {
            return TryFindStarts(group, open, out open);
        }

        var (topics, end) = TopicsOf(group, open);
        var starts = topics.Select(static each => new TopicStart(each.Number, each.NextOffset));
        open = open with { EndTopic = end, Starts = [.. starts.Where(static each => each.Offset > 0)] };
        return true;
    }

    private bool TryFindStarts(ConsumerGroup group, in OpenGroupCommand asked, out OpenGroupCommand open)
    {
        if (_search is not { IsOver: false } && _search?.IsOf(asked) != true)
        {
            var (topics, end) = TopicsOf(group, asked);
            _search = new StartSearch(asked with { EndTopic = end }, topics, group.Start.TimeUnixMs);
            inBackground(_search.Run);
        }

        // Of a while ago, it is right still: what came since is later than the time, and other topics are later ones.
        open = _search.Found;
        var isFound = _search.IsOver && _search.IsOf(asked);
        _search = isFound ? null : _search;
        return isFound;
    }

    /// <summary>Those that the next command is about, and where it ends.</summary>
    private (List<TopicView> Topics, int End) TopicsOf(ConsumerGroup group, in OpenGroupCommand open)
    {
        var filters = new GroupFilters(group.Settings.Filters);
        var topics = new List<TopicView>();
        foreach (var topic in own.Topics.Numbered)
        {
            if (topic.Number >= open.FirstTopic && topic.Number < open.Before && filters.Matches(topic.Name)
                && own.Topics.TryGetTopic(topic.Name, out TopicView view))
            {
                if (topics.Count == StartsAtOnce)
                {
                    return (topics, topic.Number);
                }

                topics.Add(view);
            }
        }

        return (topics, open.Before);
    }

    /// <summary>Looks in the background for where a group begins.</summary>
    private sealed class StartSearch(OpenGroupCommand open, List<TopicView> topics, long timeUnixMs)
    {
        private volatile bool _isOver;
        private IReadOnlyList<TopicStart> _starts = [];

        public bool IsOver => _isOver;

        /// <summary>When it is over.</summary>
        public OpenGroupCommand Found => open with { Starts = _starts };

        public bool IsOf(in OpenGroupCommand asked) => asked.Group == open.Group && asked.FirstTopic == open.FirstTopic;

        /// <summary>
        /// Where this replica cannot say which records are of a time, it gives more than was asked for.
        /// </summary>
        public void Run()
        {
            var starts = topics.Select(topic => new TopicStart(
                topic.Number, topic.TryFindTime(timeUnixMs, out var offset) ? offset : topic.FirstOffset));
            _starts = [.. starts.Where(static each => each.Offset > 0)];
            _isOver = true;
        }
    }
}
