using Broker.Domain;
using Broker.Replication;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class PurgeTests
{
    private readonly Entries _entries = new();
    private readonly IndexFolder _folder = new();
    private readonly TopicStateMachine _machine;

    public PurgeTests()
    {
        _machine = new TopicStateMachine(new NoSink());
        _machine.AttachIndexes(_folder.Read);
    }

    [Fact]
    public void What_lies_before_the_offset_goes_and_offsets_go_on()
    {
        Publish("a", 3);
        Publish("a", 3);
        Assert.Equal((RefusalCode.None, 3L), Purge("a", 3));
        var topic = Topic("a");
        Assert.Equal((3L, 6L), (topic.FirstOffset, topic.NextOffset));
        Assert.Equal(3, Located.At(topic, 3)!.Value.BaseOffset);
        Assert.Equal(6, Publish("a", 1).BaseOffset);
    }

    [Fact]
    public void All_means_what_is_stored_when_the_purge_is_applied()
    {
        Publish("a", 3);
        Assert.Equal((RefusalCode.None, 3L), Purge("a", -1));
        Assert.Equal((RefusalCode.None, 3L), Purge("a", -1));
        Assert.Equal((3L, 3L), (Topic("a").FirstOffset, Topic("a").NextOffset));
        Assert.Empty(Located.From(Topic("a"), 0));
        Publish("a", 2);
        Assert.Equal((3L, 2), (Located.From(Topic("a"), 0)[0].BaseOffset, Located.From(Topic("a"), 0)[0].Count));
    }

    [Fact]
    public void A_purge_never_brings_anything_back()
    {
        Publish("a", 9);
        Purge("a", 5);
        Assert.Equal((RefusalCode.None, 5L), Purge("a", 2));
        Assert.Equal((RefusalCode.None, 5L), Purge("a", 0));
        Assert.Equal(5, Topic("a").FirstOffset);
    }

    [Fact]
    public void What_is_not_there_is_refused_and_changes_nothing()
    {
        Publish("a", 3);
        Assert.Equal((RefusalCode.OutOfRange, 3L), Purge("a", 4));
        Assert.Equal((RefusalCode.NotFound, 0L), Purge("b", -1));
        Assert.Equal(0, Topic("a").FirstOffset);
        Assert.False(_machine.TryGetTopic("b", out _));
    }

    [Fact]
    public void A_batch_that_is_purged_in_part_is_still_found()
    {
        Publish("a", 5);
        Publish("a", 5);
        Purge("a", 7);
        var found = new List<BatchLocation>();
        Assert.True(Topic("a").TryLocate(0, 10, 1_000, found, out var first));
        Assert.Equal((5L, 7L), (Assert.Single(found).BaseOffset, first));
    }

    [Fact]
    public void A_producer_is_remembered_although_its_batch_is_purged()
    {
        var first = Entries.Apply(_machine, _entries.Publish("a", 2, id: 1));
        Purge("a", -1);
        Assert.Equal(first with { Duplicate = true }, Entries.Apply(_machine, _entries.Publish("a", 2, id: 1)));
        Assert.Equal((2L, 2L), (Topic("a").FirstOffset, Topic("a").NextOffset));
    }

    [Fact]
    public void The_first_entry_that_is_needed_is_that_of_the_first_kept_batch_of_any_topic()
    {
        Assert.Equal(new LogIndex(long.MaxValue), _machine.FirstNeeded);
        Publish("a", 2); // entry 1
        Publish("b", 2); // 2
        Publish("a", 2); // 3
        Publish("b", 2); // 4
        Assert.Equal(new LogIndex(1), _machine.FirstNeeded);
        Purge("a", 2); // 5
        Assert.Equal(new LogIndex(2), _machine.FirstNeeded);
        Purge("b", 1); // 6
        Assert.Equal(new LogIndex(2), _machine.FirstNeeded);
        Purge("b", 2); // 7
        Assert.Equal(new LogIndex(3), _machine.FirstNeeded);
        Purge("a", -1); // 8
        Assert.Equal(new LogIndex(4), _machine.FirstNeeded);
        Purge("b", -1); // 9
        Assert.Equal(new LogIndex(long.MaxValue), _machine.FirstNeeded);
        Publish("a", 1); // 10
        Publish("b", 1); // 11
        Assert.Equal(new LogIndex(10), _machine.FirstNeeded);
    }

    [Fact]
    public void A_sealed_segment_is_needed_while_it_holds_a_kept_batch()
    {
        for (var i = 0; i < 30; i++)
        {
            Publish("a", 2);
        }

        _folder.Seal(_machine, 1, 10);
        _folder.Seal(_machine, 11, 20);
        Assert.Equal(new LogIndex(1), _machine.FirstNeeded);
        Purge("a", 19);
        Assert.Equal(new LogIndex(1), _machine.FirstNeeded);
        Purge("a", 20);
        Assert.Equal(new LogIndex(11), _machine.FirstNeeded);
        _machine.DropIndexes(new LogIndex(10));
        _folder.Delete(1);
        Assert.Equal(new LogIndex(11), _machine.FirstNeeded);
        Assert.Equal(20, Located.From(Topic("a"), 0).Count);
        Purge("a", 51);
        Assert.Equal(new LogIndex(26), _machine.FirstNeeded);
        Assert.Equal(50, Located.At(Topic("a"), 51)!.Value.BaseOffset);
        _folder.Seal(_machine, 21, 30);
        Assert.Equal(new LogIndex(21), _machine.FirstNeeded);
        Assert.Equal(50, Located.At(Topic("a"), 51)!.Value.BaseOffset);
    }

    [Fact]
    public void An_index_written_before_a_purge_and_used_after_it_brings_nothing_back()
    {
        for (var i = 0; i < 20; i++)
        {
            Publish("a", 2);
            Publish("b", 1);
        }

        _folder.Write(_machine, 1, 20);
        Purge("a", 11);
        Purge("b", 15);
        _folder.Use(_machine, 1);
        Assert.Equal([10, 12, 14, 16], Located.From(Topic("a"), 0).Take(4).Select(each => (int)each.BaseOffset));
        Assert.Equal([15, 16, 17, 18, 19], Located.From(Topic("b"), 0).Select(each => (int)each.BaseOffset));
        Assert.Equal((11L, 15L), (Topic("a").FirstOffset, Topic("b").FirstOffset));
        Assert.Equal(new LogIndex(1), _machine.FirstNeeded);
    }

    [Fact]
    public void What_was_dropped_is_not_found_and_what_follows_is()
    {
        for (var i = 0; i < 30; i++)
        {
            Publish("a", 1);
        }

        _folder.Seal(_machine, 1, 10);
        _folder.Seal(_machine, 11, 20);
        _machine.DropIndexes(new LogIndex(10));
        Assert.Null(Located.At(Topic("a"), 9));
        Assert.Equal(20, Located.From(Topic("a"), 10).Count);
        Assert.Equal(new LogIndex(1), _machine.FirstNeeded);
    }

    [Fact]
    public void Replicas_that_purged_otherwise_have_another_hash()
    {
        var before = new Entries().Publish("a", 5);
        var (one, two, three) = (new Entries(), new Entries(), new Entries());
        var hashes = new[] { one.Purge("a", 1), two.Purge("a", 2), three.Purge("b", 1) }.Select(purge =>
        {
            var machine = new TopicStateMachine(new NoSink());
            machine.Apply(before, []);
            machine.Apply(
                new LogEntry(new LogIndex(2), new Term(1), EntryKind.Commands, 1, 1_020, 0, purge.Body), []);
            return machine.StateHash;
        });
        Assert.Distinct(hashes);
    }

    private TopicView Topic(string name)
    {
        Assert.True(_machine.TryGetTopic(name, out var topic));
        return topic;
    }

    private CommandResult Publish(string topic, int records) =>
        Entries.Apply(_machine, _entries.Publish(topic, records));

    private (RefusalCode Code, long Offset) Purge(string topic, long beforeOffset)
    {
        var result = Entries.Apply(_machine, _entries.Purge(topic, beforeOffset));
        return (result.Code, result.BaseOffset);
    }
}
