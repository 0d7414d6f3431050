using BenchmarkDotNet.Attributes;
using Broker.Domain;
using Broker.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// What GroupLog.Write costs itself, without a disk: time and bytes per entry, of a log that has been growing for a
/// while. Rolls to new segments are included, one in about 400 batches.
/// </summary>
[MemoryDiagnoser]
public class LogWriteBenchmark
{
    private const int EntriesPerWrite = 1000;
    private const int SealedBefore = 10;
    private readonly LogWrite _write = new();
    private readonly byte[] _body = new byte[100];
    private GroupLog? _log;
    private uint _bodyCrc32C;

    [GlobalSetup]
    public void Open()
    {
        _bodyCrc32C = Crc32C.Compute(_body);
        _log = GroupLog.Open(
            new DiscardingDevice(), "/log", new GroupId(1), Guid.NewGuid(), new StorageOptions(), NullLogger.Instance);
        _write.HardState = new HardState(new Term(1), NodeId.None);
        _log.Write(_write);

        // Until then segments grow, and the positions of sealed ones gather in memory.
        while (_log.SealedSegments.Count < SealedBefore)
        {
            WriteBatch();
        }
    }

    [GlobalCleanup]
    public void Close() => _log?.Dispose();

    /// <summary>The entries alone, which are their caller's: to be taken off the figure below.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = EntriesPerWrite)]
    public void BuildBatch()
    {
        _write.Clear();
        var next = _log!.LastIndex.Next();
        for (var i = 0; i < EntriesPerWrite; i++)
        {
            _write.Entries.Add(new LogEntry(next + i, new Term(1), EntryKind.Commands, 1, 0, _bodyCrc32C, _body));
        }
    }

    [Benchmark(OperationsPerInvoke = EntriesPerWrite)]
    public void WriteBatch()
    {
        BuildBatch();
        _log!.Write(_write);
    }
}
