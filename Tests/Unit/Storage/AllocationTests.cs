using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Benchmarks;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Storage;

public class AllocationTests
{
    private const int EntriesPerWrite = 100;

    /// <summary>Names, a header block, a vote slot: far less than the positions of a segment's entries.</summary>
    private const int BytesPerRoll = 16 * 1024;

    private static readonly StorageOptions Options = new()
    {
        FirstSegmentBytes = 1024 * 1024,
        SegmentBytes = 1024 * 1024,
        LoadedSealedSegments = 2,
    };

    private readonly LogWrite _write = new();
    private readonly byte[] _body = new byte[100];

    [Fact]
    public void Log_that_grows_evenly_needs_no_memory_for_entries_and_little_for_segments()
    {
        using var log = GroupLog.Open(
            new DiscardingDevice(), "/log", new GroupId(1), Guid.NewGuid(), Options, NullLogger.Instance);
        log.Write(new LogWrite { HardState = new HardState(new Term(1), NodeId.None) });
        while (log.SealedSegments.Count < 4)
        {
            Write(log);
        }

        var written = 0L;
        var rolled = 0L;
        for (var rolls = 0; rolls < 10;)
        {
            var segments = log.SealedSegments.Count;
            var bytes = Write(log);
            var isRoll = log.SealedSegments.Count > segments;
            written += isRoll ? 0 : bytes;
            rolled = isRoll ? Math.Max(rolled, bytes) : rolled;
            rolls += isRoll ? 1 : 0;
        }

        Assert.Equal(0, written);
        Assert.InRange(rolled, 1, BytesPerRoll);
    }

    /// <summary>The bytes that the write has allocated.</summary>
    private long Write(GroupLog log)
    {
        _write.Clear();
        var crc = Crc32C.Compute(_body);
        var next = log.LastIndex.Next();
        for (var i = 0; i < EntriesPerWrite; i++)
        {
            _write.Entries.Add(new LogEntry(next + i, new Term(1), EntryKind.Commands, 1, 0, crc, _body));
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        log.Write(_write);
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }
}
