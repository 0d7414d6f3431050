using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Microsoft.Extensions.Logging.Abstractions;

namespace Broker.Tests.Unit.Storage;

/// <summary>A group's snapshots and index files on a simulated disk.</summary>
internal sealed class SideFileFixture
{
    public const string Folder = LogFixture.Folder;

    public static readonly GroupConfiguration Configuration =
        new(new LogIndex(4), [new NodeId(1), new NodeId(3)], [new NodeId(2)]);

    public SideFileFixture(int seed = 1)
        : this(new SimulatedDevice(seed))
    {
        Device.CreateFolder(Folder);
    }

    public SideFileFixture(SimulatedDevice device) => Device = device;

    public SimulatedDevice Device { get; }

    public static string SnapshotPath(long index) =>
        Path.Combine(Folder, GroupFolder.SnapshotName(new LogIndex(index)));

    public static string IndexPath(long first) => Path.Combine(Folder, GroupFolder.IndexName(new LogIndex(first)));

    public static LogPosition At(long index, long term = 2) => new(new LogIndex(index), new Term(term));

    public static byte[] Bytes(int count, int seed)
    {
        var bytes = new byte[count];
        new Random(HashCode.Combine(count, seed)).NextBytes(bytes);
        return bytes;
    }

    public SnapshotFiles Snapshots(Guid? storeId = null, GroupId? group = null) =>
        new(Device, Folder, group ?? LogFixture.Group, storeId ?? LogFixture.StoreId, NullLogger.Instance);

    public IndexFiles Indexes(
        Guid? storeId = null, GroupId? group = null, IStorageDevice? device = null, int open = 2) =>
        new(
            device ?? Device,
            Folder,
            group ?? LogFixture.Group,
            storeId ?? LogFixture.StoreId,
            NullLogger.Instance,
            open);

    /// <summary>Reads the whole index, the body in look-ups of different sizes; null when any of it fails.</summary>
    public static (LogIndex Last, byte[] Directory, byte[] Body)? ReadAll(IndexFiles indexes, long first, int bodyBytes)
    {
        if (!indexes.TryReadDirectory(new LogIndex(first), out var last, out var directory))
        {
            return null;
        }

        var body = new byte[bodyBytes];
        for (var at = 0; at < bodyBytes;)
        {
            var count = Math.Min(bodyBytes - at, 1 + (at % 5003));
            if (!indexes.TryReadBody(new LogIndex(first), at, body.AsSpan(at, count)))
            {
                return null;
            }

            at += count;
        }

        return (last, directory.ToArray(), body);
    }

    /// <summary>Puts another format version into a file's header, with a checksum that matches.</summary>
    public void SetVersion(string path, byte version)
    {
        var block = new byte[CheckedPages.PageBytes];
        using var file = Device.Open(path, create: false);
        file.Read(0, block);
        block[8] = version;
        block.AsSpan(12, 4).Clear();
        var crc = Crc32C.Compute(block.AsSpan(16), Crc32C.Compute(block.AsSpan(0, 12)));
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(12), crc);
        file.Write(0, block);
        file.Sync();
    }
}
