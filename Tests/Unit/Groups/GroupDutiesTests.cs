using Broker.ClusterState;
using Broker.Groups;
using Xunit;

namespace Broker.Tests.Unit.Groups;

public sealed class GroupDutiesTests
{
    private readonly GroupMachine _shard = new();
    private readonly Queue<Action> _background = [];
    private ConsumerGroups _cluster = ConsumerGroups.Empty;

    public GroupDutiesTests()
    {
        _shard.Progress.AttachDuties(new GroupDuties(() => _cluster, _shard.Progress, _background.Enqueue));
        _shard.Publish("a.x", 10);
        _shard.Publish("b", 10);
        _shard.Publish("$dlq.g", 10);
        _shard.Publish("a.y", 5);
    }

    [Fact]
    public void A_group_that_begins_at_the_end_is_told_so_in_the_topics_that_it_follows()
    {
        Make(1, GroupStartKind.End, "a.>", "a.*");
        Work();
        Assert.Equal([(0, 10L), (3, 5L)], Starts(1));
        Make(2, GroupStartKind.Beginning, ">");
        Make(3, GroupStartKind.End, ">");
        Make(4, GroupStartKind.End, "$dlq.*");
        Work();
        Assert.True(_shard.Progress.Groups[2].IsOpen);
        Assert.Empty(Starts(2));
        Assert.Equal([0, 1, 3], Starts(3).Select(static each => each.Topic));
        Assert.Equal([2], Starts(4).Select(static each => each.Topic));
    }

    [Fact]
    public void A_group_that_begins_at_a_time_begins_with_the_first_batch_of_then()
    {
        Assert.True(_shard.Machine.TryGetTopic("b", out var topic));
        var time = topic.LastTimestampUnixMs;
        _shard.Publish("b", 3);
        Make(1, GroupStartKind.Time, ">", time + 1);
        Work();
        Assert.Equal((1, 10L), Starts(1).Single(static each => each.Topic == 1));
        Assert.Equal((0, 10L), Starts(1).Single(static each => each.Topic == 0));
        Assert.DoesNotContain(Starts(1), static each => each.Topic == 3);
    }

    [Fact]
    public void Where_records_of_a_time_are_is_looked_up_in_the_background_and_others_do_not_wait_for_it()
    {
        Make(1, GroupStartKind.Time, ">", 1);
        Make(2, GroupStartKind.End, "a.>");
        Assert.True(_shard.TryDuty(out var open));
        _shard.Apply(_shard.Entry(open));
        Assert.False(_shard.TryDuty(out _));
        Assert.Equal([2], _shard.Progress.Groups.Keys);
        var search = Assert.Single(_background);

        // Deleted meanwhile: what is found is of no use to the next one.
        _cluster = _cluster.Without(_cluster.Find(1)!);
        Make(3, GroupStartKind.Time, "b", long.MaxValue);
        Assert.False(_shard.TryDuty(out _));
        search();
        _background.Clear();
        Assert.False(_shard.TryDuty(out _));
        Work();
        Assert.Equal([2, 3], _shard.Progress.Groups.Keys);
        Assert.Equal([(1, 10L)], Starts(3));
    }

    [Fact]
    public void A_group_is_closed_when_it_was_deleted_and_not_when_it_is_still_to_come()
    {
        Make(1, GroupStartKind.Beginning, ">");
        Make(2, GroupStartKind.Beginning, ">");
        Work();
        var known = _cluster;
        _cluster = ConsumerGroups.Empty;
        Work();
        Assert.Equal([1, 2], _shard.Progress.Groups.Keys);
        _cluster = known.Without(known.Find(1)!);
        Work();
        Assert.Equal([2], _shard.Progress.Groups.Keys);
    }

    [Fact]
    public void Topics_that_come_while_a_group_is_opened_are_followed_from_their_beginning()
    {
        Make(1, GroupStartKind.End, ">");
        Assert.True(_shard.TryDuty(out var open));
        _shard.Publish("late", 4);
        _shard.Apply(_shard.Entry(open));
        Work();
        Assert.DoesNotContain(Starts(1), static each => each.Topic == 4);
        Assert.True(_shard.Progress.Groups[1].IsOpen);
    }

    private IEnumerable<(int Topic, long Floor)> Starts(int group) =>
        _shard.Progress.Groups[group].Progress.Values.Select(static each => (each.Topic, each.Settled.Floor));

    private void Make(int number, GroupStartKind start, params string[] filters) => Make(number, start, filters, 0);

    private void Make(int number, GroupStartKind start, string filter, long time) =>
        Make(number, start, [filter], time);

    private void Make(int number, GroupStartKind start, string[] filters, long time)
    {
        var settings = new ConsumerGroupSettings { Filters = [.. filters] };
        var group = new ConsumerGroup(number, $"g{number}", settings, new GroupStart(start, time));
        _cluster = _cluster.With(group) with { NextNumber = number + 1 };
    }

    /// <summary>All that is due, some of it proposed twice before it is applied.</summary>
    private void Work()
    {
        for (var more = true; more;)
        {
            var commands = new List<byte[]>();
            while (commands.Count < 3 && _shard.TryDuty(out var command))
            {
                commands.Add(command);
            }

            more = commands.Count + _background.Count > 0;
            while (_background.TryDequeue(out var work))
            {
                work();
            }

            commands.ForEach(command => _shard.Apply(_shard.Entry(command)));
        }
    }
}
