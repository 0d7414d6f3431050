using Broker.Domain;
using Broker.Storage;
using Xunit;

namespace Broker.Tests.Unit.Storage;

/// <summary>A log of a few segments, and what must hold when it is opened after its files were damaged.</summary>
internal static class SmallLog
{
    public const int LastIndex = 52;
    public static readonly HardState Voted = new(new Term(3), new NodeId(2));

    public static List<LogEntry> Entries { get; } =
        LogFixture.AppendRange(1, LastIndex, term: 3, bodyBytes: 301).Entries;

    /// <summary>Three segments; each write has two entries.</summary>
    public static void Write(LogFixture fixture, bool isClosed = true)
    {
        var log = fixture.Open();
        log.Write(new LogWrite { HardState = Voted });
        for (var i = 0; i < Entries.Count; i += 2)
        {
            log.Write(LogFixture.Append(Entries[i], Entries[i + 1]));
        }

        Assert.Equal(2, log.SealedSegments.Count);
        if (isClosed)
        {
            log.Dispose();
        }

        fixture.Device.Kill();
    }

    /// <summary>The same log, which begins after its first segment; one snapshot at its base.</summary>
    public static void WriteWithBase(LogFixture fixture)
    {
        Write(fixture);
        using (var log = fixture.Open())
        {
            var through = log.SealedSegments[0].Last;
            var configuration = new GroupConfiguration(LogIndex.None, [new NodeId(1), new NodeId(2)], []);
            log.Snapshots.Write(new LogPosition(through, Voted.Term), configuration, new byte[5000]);
            log.Indexes.Write(log.SealedSegments[1].First, log.SealedSegments[1].Last, new byte[100], new byte[5000]);
            log.Write(new LogWrite { DropThrough = through });
            Assert.Equal(through.Next(), log.FirstIndex);
        }

        fixture.Device.Kill();
    }

    /// <summary>
    /// Opens the log and checks the promise: each entry is there as it was written, or its segment is marked as
    /// damaged, or the fence is at or above all that was durable, or the replica knows that it is lost.
    /// </summary>
    public static Outcome Check(LogFixture fixture, int durable, string name)
    {
        using var log = fixture.Open();
        if (log.HardState.IsLost)
        {
            Assert.Equal((0L, 1L), (log.LastIndex.Value, log.FirstIndex.Value));
            Assert.Equal(GroupConfiguration.None, log.Configuration);
            return Outcome.Lost;
        }

        Assert.True(log.HardState == Voted, $"{name}: hard state {log.HardState}");
        var damaged = CheckEntries(log, name);
        if (log.Fence != LogPosition.None)
        {
            var last = new LogPosition(new LogIndex(LastIndex), Voted.Term);
            Assert.True(log.Fence >= last, $"{name}: a fence at {log.Fence}");
            return Outcome.Fenced;
        }

        Assert.True(log.LastIndex.Value >= durable, $"{name}: the log ends at {log.LastIndex}");
        return damaged > 0 ? Outcome.Damaged : log.LastIndex.Value < LastIndex ? Outcome.Torn : Outcome.Intact;
    }

    private static int CheckEntries(GroupLog log, string name)
    {
        var damaged = 0;
        for (var index = log.FirstIndex; index <= log.LastIndex; index = index.Next())
        {
            var into = new List<LogEntry>();
            try
            {
                Assert.Equal(1, log.Read(index, index, int.MaxValue, into));
                var written = Entries[(int)index.Value - 1];
                Assert.True(LogFixture.AreSame(written, into[0]), $"{name}: entry {index} differs");
            }
            catch (StorageCorruptException)
            {
                damaged++;
                Assert.Contains(
                    log.SealedSegments,
                    segment => segment.IsDamaged && segment.First <= index && segment.Last >= index);
            }
        }

        return Math.Max(damaged, log.SealedSegments.Count(static segment => segment.IsDamaged));
    }

    public enum Outcome
    {
        Intact,
        Torn,
        Damaged,
        Fenced,
        Lost,
    }
}
