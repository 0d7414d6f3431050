using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;
using Broker.Storage;
using Broker.Tests.Unit.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>The way of a write, under a writer that does what the test says.</summary>
public sealed class GroupWritesTests : IDisposable
{
    private readonly ManualTime _time = new();
    private readonly RecordingWriter _writer = new();
    private readonly GroupLog _log = new LogFixture().Open();
    private readonly FakeLoop _loop;
    private readonly GroupWrites _writes;
    private long _sequence;

    public GroupWritesTests()
    {
        _loop = new FakeLoop(_time);
        _writes = new GroupWrites(_loop, new TestGroup(1)[1].Group, _log, _writer, NullLogger.Instance);
    }

    public void Dispose() => _log.Dispose();

    [Fact]
    public void While_one_write_is_under_way_the_next_gathers()
    {
        Append(1);
        _writes.Submit();
        Append(2);
        Append(3);
        _writes.Submit();
        Assert.Equal([1], Assert.Single(_writer.Submitted));

        Assert.Equal(1, _writes.Complete().Sequence);
        _writes.Submit();

        Assert.Equal([2, 3], _writer.Submitted[1]);
        Assert.Equal(3, _writes.Complete().Sequence);
        Assert.True(_writes.IsIdle);
    }

    [Fact]
    public void A_write_completes_once()
    {
        Append(1);
        _writes.Submit();
        _writes.Complete();

        Assert.Throws<InvariantException>(() => _writes.Complete());
    }

    [Fact]
    public void What_found_no_space_is_written_again_after_a_second_before_anything_else()
    {
        Append(1);
        _writes.Submit();
        _writes.WaitForSpace("full");
        Append(2);
        Pass(Limits.DiskFullRetryMs - 1);
        _writes.Submit();
        Assert.Single(_writer.Submitted);

        Pass(Limits.WriteExpediteMs);

        Assert.Equal([1], _writer.Submitted[1]);
        Assert.True(_writes.IsDiskFull);
        Assert.True(_writes.Complete().WasHeldUp);
        Assert.False(_writes.IsDiskFull);
    }

    [Fact]
    public void A_write_that_hangs_is_expedited_and_told_when_it_lasts_longer_than_a_leader_may_be_silent()
    {
        Append(1);
        _writes.Submit();

        Assert.Null(Pass(Limits.WriteExpediteMs));
        Assert.Equal(1, _writer.Expedited);
        Assert.False(_writes.IsStalled);

        Assert.Equal(Limits.WriteStallMs, Pass(Limits.WriteStallMs - Limits.WriteExpediteMs));
        Assert.True(_writes.IsStalled);
        Assert.Equal(1, _loop.ConditionChanges);
    }

    [Fact]
    public void What_the_writer_has_is_truncated_by_the_next_write_and_what_gathers_is_not_written_at_all()
    {
        Append(1);
        Append(2);
        _writes.Submit();
        Append(3);
        _writes.TruncateFrom(new LogIndex(2));
        Append(2);
        _writes.Complete();
        _writes.Submit();

        Assert.Equal([2], _writer.Submitted[1]);
        Assert.Equal(new LogIndex(2), _writer.Last!.TruncateFrom);
    }

    [Fact]
    public void A_truncation_of_what_no_writer_has_seen_is_not_written()
    {
        Append(1);
        Append(2);
        _writes.TruncateFrom(new LogIndex(2));
        _writes.Submit();

        Assert.Equal([1], Assert.Single(_writer.Submitted));
        Assert.Null(_writer.Last!.TruncateFrom);
    }

    [Fact]
    public void The_last_entries_get_their_proof_when_nothing_follows_them_for_a_while()
    {
        Append(1);
        _writes.Submit();
        _writes.Complete();
        Pass(Limits.RaiseFloorAfterMs - 1);
        _writes.Submit();
        Assert.Single(_writer.Submitted);

        Pass(1);
        _writes.Submit();

        Assert.Empty(_writer.Submitted[1]);
        Assert.True(_writer.Last!.RaisesFloor);
    }

    private void Append(long index)
    {
        _writes.Gather(new Ready { PersistSequence = ++_sequence });
        _writes.Append(LogFixture.Entry(index));
    }

    private long? Pass(long milliseconds)
    {
        _time.Advance(TimeSpan.FromMilliseconds(milliseconds));
        return _writes.LookAfter();
    }

    private sealed class RecordingWriter : ILogWriter
    {
        /// <summary>The entries of each write.</summary>
        public List<long[]> Submitted { get; } = [];

        public LogWrite? Last { get; private set; }

        public int Expedited { get; private set; }

        public void Submit(ReplicaGroup group, GroupLog log, LogWrite write)
        {
            Submitted.Add([.. write.Entries.Select(static entry => entry.Index.Value)]);
            Last = write;
        }

        public void Expedite(ReplicaGroup group) => Expedited++;
    }
}
