using Broker.Domain;
using Broker.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Storage;

public sealed class PhysicalDeviceTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("broker-storage-").FullName;
    private readonly PhysicalDevice _device = new();

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void Log_on_a_real_disk_survives_a_restart()
    {
        var folder = Path.Combine(_root, "groups", "1");
        var written = LogFixture.AppendRange(1, 3000, bodyBytes: 33).Entries;
        using (var log = Open(folder))
        {
            log.Write(LogFixture.Append([.. written.Take(1500)]));
            foreach (var chunk in written.Skip(1500).Chunk(50))
            {
                log.Write(LogFixture.Append(chunk));
            }

            var truncate = LogFixture.AppendRange(2001, 3000, bodyBytes: 33);
            truncate.TruncateFrom = new LogIndex(2001);
            truncate.HardState = new HardState(new Term(5), new NodeId(3));
            log.Write(truncate);
        }

        using var reopened = Open(folder);
        LogFixture.AssertSame(written, LogFixture.ReadAll(reopened));
        Assert.Equal(new HardState(new Term(5), new NodeId(3)), reopened.HardState);
    }

    [Fact]
    public void Allocated_space_reads_as_zero_and_gathered_parts_follow_each_other()
    {
        var path = Path.Combine(_root, "file");
        using var file = _device.Open(path, create: true);
        file.Allocate(10_000);
        Assert.Equal(10_000, file.Length);
        var parts = Enumerable.Range(0, 2500)
            .Select(i => (ReadOnlyMemory<byte>)new[] { (byte)i, (byte)(i >> 8) }).ToList();
        file.Write(100, parts);
        file.Sync();
        var bytes = new byte[12_000];
        Assert.Equal(10_000, file.Read(0, bytes));
        Assert.All(bytes[..100], value => Assert.Equal(0, value));
        Assert.Equal(parts.SelectMany(part => part.ToArray()), bytes[100..5100]);
        Assert.All(bytes[5100..], value => Assert.Equal(0, value));
        Assert.Equal(0, file.Read(10_000, bytes));
    }

    [Fact]
    public void Writing_entries_makes_no_garbage_but_their_positions()
    {
        using var log = GroupLog.Open(
            _device,
            Path.Combine(_root, "group"),
            new GroupId(1),
            LogFixture.StoreId,
            new StorageOptions(),
            NullLogger.Instance);
        const int PerWrite = 1000;
        var writes = Enumerable.Range(0, 8)
            .Select(i => LogFixture.AppendRange((i * PerWrite) + 1, (i + 1) * PerWrite, bodyBytes: 50)).ToList();
        writes[..2].ForEach(log.Write);
        var before = GC.GetAllocatedBytesForCurrentThread();
        writes[2..].ForEach(log.Write);
        var perEntry = (GC.GetAllocatedBytesForCurrentThread() - before) / (6.0 * PerWrite);
        Assert.InRange(perEntry, 0, 12);
    }

    [Fact]
    public void Names_are_listed_in_order_and_renames_replace()
    {
        foreach (var name in new[] { "b", "a", "c" })
        {
            _device.Open(Path.Combine(_root, name), create: true).Dispose();
        }

        _device.Rename(Path.Combine(_root, "c"), Path.Combine(_root, "b"));
        _device.SyncFolder(_root);
        Assert.Equal(["a", "b"], _device.List(_root));
        _device.Delete(Path.Combine(_root, "a"));
        Assert.False(_device.Exists(Path.Combine(_root, "a")));
        Assert.Throws<FileNotFoundException>(() => _device.Open(Path.Combine(_root, "a"), create: false));
    }

    [Fact]
    public void Lock_has_one_holder()
    {
        var path = Path.Combine(_root, "lock");
        using (var first = _device.TryLock(path))
        {
            Assert.NotNull(first);
            Assert.Null(_device.TryLock(path));
        }

        using var second = _device.TryLock(path);
        Assert.NotNull(second);
    }

    private GroupLog Open(string folder) => GroupLog.Open(
        _device, folder, new GroupId(1), LogFixture.StoreId, LogFixture.SmallOptions(), NullLogger.Instance);
}
