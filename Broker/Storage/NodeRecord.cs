using System.Buffers.Binary;
using System.Text;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The contents of <c>node.id</c>, little endian:
/// <code>
///  0 "BRKRNODE"          8 format version      12 CRC32C of all other bytes
/// 16 node                20 store id (16)      36 cluster id (16, zero: none)
/// 52 name bytes          56 peers              60 data shards
/// 64 name in UTF-8, then per peer: node, store id (16)
/// </code>
/// Node 1, "broker-1", no cluster, no peers, three data shards:
/// <code>
/// 42 52 4B 52 4E 4F 44 45  01 00 00 00 .. .. .. ..  01 00 00 00  (store id)  (16 zeros)
/// 08 00 00 00 00 00 00 00  03 00 00 00 62 72 6F 6B  65 72 2D 31
/// </code>
/// </summary>
internal sealed record NodeRecord(StoreIdentity Identity, IReadOnlyDictionary<NodeId, Guid> PeerStores)
{
    /// <summary>A file beyond this is not ours: 1,024 peers and a long name need less.</summary>
    public const int MaxBytes = 32 * 1024;

    private const int FixedBytes = 64;
    private const int GuidBytes = 16;
    private const int PeerBytes = sizeof(int) + GuidBytes;

    public static ReadOnlySpan<byte> Magic => "BRKRNODE"u8;

    public byte[] Encode()
    {
        var name = Encoding.UTF8.GetBytes(Identity.NodeName);
        var block = new byte[FixedBytes + name.Length + (PeerStores.Count * PeerBytes)];
        Invariant.Check(block.Length <= MaxBytes, "the node record is within its limit");
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(16), Identity.NodeId.Value);
        Identity.StoreId.TryWriteBytes(block.AsSpan(20));
        (Identity.ClusterId ?? Guid.Empty).TryWriteBytes(block.AsSpan(36));
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(52), name.Length);
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(56), PeerStores.Count);
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(60), Identity.DataShards);
        name.CopyTo(block, FixedBytes);
        var at = FixedBytes + name.Length;
        foreach (var (peer, storeId) in PeerStores.OrderBy(static pair => pair.Key.Value))
        {
            BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(at), peer.Value);
            storeId.TryWriteBytes(block.AsSpan(at + sizeof(int)));
            at += PeerBytes;
        }

        CheckedBlock.Seal(block, Magic);
        return block;
    }

    public static NodeRecord Decode(ReadOnlySpan<byte> block, string path)
    {
        if (block.Length < FixedBytes || !CheckedBlock.IsIntact(block, Magic))
        {
            throw new StorageCorruptException(path, 0, "a node record with a matching checksum");
        }

        CheckedBlock.CheckVersion(block, path);
        var nameBytes = BinaryPrimitives.ReadInt32LittleEndian(block[52..]);
        var peerCount = BinaryPrimitives.ReadInt32LittleEndian(block[56..]);
        if (nameBytes < 0 || peerCount < 0 || FixedBytes + nameBytes + ((long)peerCount * PeerBytes) != block.Length)
        {
            throw new StorageCorruptException(path, 52, "lengths that add up to the file's length");
        }

        var peers = new Dictionary<NodeId, Guid>(peerCount);
        for (var at = FixedBytes + nameBytes; at < block.Length; at += PeerBytes)
        {
            peers[new NodeId(BinaryPrimitives.ReadInt32LittleEndian(block[at..]))] =
                new Guid(block.Slice(at + sizeof(int), GuidBytes));
        }

        var clusterId = new Guid(block.Slice(36, GuidBytes));
        var identity = new StoreIdentity(
            new Guid(block.Slice(20, GuidBytes)),
            new NodeId(BinaryPrimitives.ReadInt32LittleEndian(block[16..])),
            Encoding.UTF8.GetString(block.Slice(FixedBytes, nameBytes)),
            clusterId == Guid.Empty ? null : clusterId,
            BinaryPrimitives.ReadInt32LittleEndian(block[60..]));
        return new NodeRecord(identity, peers);
    }
}
