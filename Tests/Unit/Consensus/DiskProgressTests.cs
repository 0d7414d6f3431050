using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>A log with entries 1 to 5 on its disk.</summary>
public sealed class DiskProgressTests
{
    private readonly DiskProgress _disk = new(new LogIndex(5));
    private readonly Ready _ready = new();

    [Fact]
    public void What_was_recovered_is_durable_and_nothing_is_to_be_done()
    {
        Assert.Equal((5, true), (_disk.FlushedIndex.Value, _disk.IsHardStateDurable));
        Assert.False(_disk.HasWork(new LogIndex(5)));

        Assert.Equal(0, Take(last: 5));
        Assert.False(_ready.HasEntries);
    }

    [Fact]
    public void Appended_entries_are_named_once_and_durable_after_their_write()
    {
        Assert.True(_disk.HasWork(new LogIndex(8)));
        Assert.Equal(1, Take(last: 8));
        Assert.Equal((6, 8), (_ready.AppendFirst.Value, _ready.AppendLast.Value));
        Assert.False(_disk.HasWork(new LogIndex(8)));
        Assert.Equal(5, _disk.FlushedIndex.Value);

        Assert.True(_disk.TryPersist(1));

        Assert.Equal(8, _disk.FlushedIndex.Value);
        Assert.False(_disk.TryPersist(1));
    }

    [Fact]
    public void End_of_a_write_is_the_end_of_those_before_it()
    {
        Take(last: 6);
        Take(last: 9);

        _disk.TryPersist(2);

        Assert.Equal(9, _disk.FlushedIndex.Value);
    }

    [Fact]
    public void Only_what_was_handed_out_ends() => Assert.ThrowsAny<Exception>(() => _disk.TryPersist(1));

    [Fact]
    public void Hard_state_is_durable_with_the_write_that_holds_it()
    {
        Take(last: 6);
        _disk.MarkHardStateChanged();
        Assert.Equal((true, false), (_disk.HardStateChanged, _disk.IsHardStateDurable));
        _disk.TryPersist(1);
        Assert.False(_disk.IsHardStateDurable);

        Assert.Equal(_disk.HardStateSequence, Take(last: 6));
        Assert.False(_disk.HardStateChanged);
        _disk.TryPersist(2);

        Assert.True(_disk.IsHardStateDurable);
    }

    /// <summary>The write that is under way reports success for entries that others have taken the place of.</summary>
    [Fact]
    public void Truncated_entries_do_not_become_durable_by_the_write_that_was_under_way()
    {
        Take(last: 9);
        _disk.TruncateFrom(new LogIndex(7));

        Take(last: 9);
        Assert.Equal((7, 7, 9), (_ready.TruncateFrom!.Value.Value, _ready.AppendFirst.Value, _ready.AppendLast.Value));
        _disk.TryPersist(1);
        Assert.Equal(6, _disk.FlushedIndex.Value);

        _disk.TryPersist(2);
        Assert.Equal(9, _disk.FlushedIndex.Value);
    }

    [Fact]
    public void Truncation_takes_durable_entries_back()
    {
        _disk.TruncateFrom(new LogIndex(4));

        Assert.Equal(3, _disk.FlushedIndex.Value);
        Assert.True(_disk.HasWork(new LogIndex(3)));
    }

    [Fact]
    public void Earliest_of_two_truncations_is_named()
    {
        Take(last: 9);
        _disk.TruncateFrom(new LogIndex(7));
        _disk.TruncateFrom(new LogIndex(6));

        Take(last: 8);

        Assert.Equal((6, 6), (_ready.TruncateFrom!.Value.Value, _ready.AppendFirst.Value));
    }

    [Fact]
    public void Entries_that_no_ready_has_named_are_truncated_in_silence()
    {
        _disk.TruncateFrom(new LogIndex(7));

        Take(last: 6);

        Assert.Null(_ready.TruncateFrom);
        Assert.Equal((6, 6), (_ready.AppendFirst.Value, _ready.AppendLast.Value));
    }

    [Fact]
    public void Noop_is_named_once_unless_it_is_truncated()
    {
        _disk.NameNoop(new LogIndex(6));
        Take(last: 6);
        Assert.Equal(6, _ready.Noop?.Value);
        Take(last: 6);
        Assert.Null(_ready.Noop);

        _disk.NameNoop(new LogIndex(7));
        _disk.TruncateFrom(new LogIndex(7));
        Take(last: 7);
        Assert.Null(_ready.Noop);
    }

    [Fact]
    public void Snapshot_replaces_all_and_is_durable_with_its_own_write()
    {
        Take(last: 9);
        _disk.TruncateFrom(new LogIndex(8));
        _disk.ReplaceLog(new LogPosition(new LogIndex(30), new Term(2)), commitIndex: new LogIndex(4));
        Assert.Equal(4, _disk.FlushedIndex.Value);

        Take(last: 30);
        Assert.Equal((30, null), (_ready.Snapshot?.Index.Value, _ready.TruncateFrom));
        Assert.False(_ready.HasEntries);
        _disk.TryPersist(1);
        Assert.Equal(4, _disk.FlushedIndex.Value);

        _disk.TryPersist(2);
        Assert.Equal(30, _disk.FlushedIndex.Value);
    }

    [Fact]
    public void Message_waits_for_the_term_that_it_reveals()
    {
        var outbox = new Outbox(_disk);
        _disk.MarkHardStateChanged();
        outbox.Send(Message(1));
        Take(last: 5);
        _disk.MarkHardStateChanged();
        outbox.Send(Message(2));
        Assert.Equal(0, outbox.Count);

        _disk.TryPersist(1);
        outbox.Release(1);
        Assert.Equal([1], outbox.Take([]).Select(m => m.Context));

        Take(last: 5);
        _disk.TryPersist(2);
        outbox.Release(2);
        outbox.Send(Message(3));
        Assert.Equal([2, 3], outbox.Take([]).Select(m => m.Context));
    }

    private static RaftMessage Message(long context) => new()
    {
        Kind = RaftMessageKind.Heartbeat,
        From = new NodeId(1),
        To = new NodeId(2),
        Term = new Term(3),
        Context = context,
    };

    private long Take(int last)
    {
        _disk.TakeInto(_ready, new LogIndex(last), _disk.HasWork(new LogIndex(last)));
        return _ready.PersistSequence;
    }
}
