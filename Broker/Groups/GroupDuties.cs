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
internal sealed class GroupDuties(Func<ConsumerGroups> cluster, GroupProgressModule own)
{
    private const int StartsAtOnce = 5_000;

    // Where the look goes on: behind the group of this number, first among those that are here.
    private int _closedTo = -1;
    private int _openedTo = -1;

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
            if (here?.IsOpen != true)
            {
                _openedTo = group.Number;
                GroupCommands.WriteOpen(command, Open(group, here));
                return true;
            }
        }

        (_closedTo, _openedTo) = (-1, -1);
        return false;
    }

    /// <summary>
    /// Where the group begins in the next topics that were there when it came. A topic that comes meanwhile is followed
    /// from its beginning, as all that come later.
    /// </summary>
    private OpenGroupCommand Open(ConsumerGroup group, GroupHere? here)
    {
        var first = here?.OpenedTo ?? 0;
        var before = here?.Before ?? own.Topics.NextNumber;
        if (group.Start.Kind == GroupStartKind.Beginning)
        {
            return new OpenGroupCommand(group.Number, first, before, before, []);
        }

        var filters = new GroupFilters(group.Settings.Filters);
        var starts = new List<TopicStart>();
        foreach (var topic in own.Topics.Numbered)
        {
            if (topic.Number < first || topic.Number >= before || !filters.Matches(topic.Name))
            {
                continue;
            }

            if (starts.Count == StartsAtOnce)
            {
                return new OpenGroupCommand(group.Number, first, topic.Number, before, starts);
            }

            if (StartIn(topic.Name, group.Start) is > 0 and var offset)
            {
                starts.Add(new TopicStart(topic.Number, offset));
            }
        }

        return new OpenGroupCommand(group.Number, first, before, before, starts);
    }

    /// <summary>Where this replica cannot say which records are of a time, it gives more than was asked for.</summary>
    private long StartIn(string place, GroupStart start)
    {
        if (!own.Topics.TryGetTopic(place, out TopicView topic))
        {
            return 0;
        }

        return start.Kind == GroupStartKind.End ? topic.NextOffset
            : topic.TryFindTime(start.TimeUnixMs, out var offset) ? offset
            : topic.FirstOffset;
    }
}
