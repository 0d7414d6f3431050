using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The contents of <c>node.id</c> and of its copy, little endian:
/// <code>
///  0 "BRKRNODE"          8 format version      12 CRC32C of all other bytes
/// 16 node                20 store id (16)      36 cluster id (16, zero: none)
/// 52 name bytes          56 peers              60 data shards
/// 64 sequence            72 groups that were created
/// 76 name in UTF-8, then per peer: node, store id (16); then the groups' numbers, int32 each
/// then, not in format 2: founders after their count, each an int32 and, not in format 3, a byte of roles; members
/// after their count, each a node and two texts, its name and its address, in UTF-8 after their length; one byte: 1
/// when the disk was taken out of its cluster; not in format 3: one byte, the node's roles (see NodeRoles)
/// </code>
/// The second record of node 1, "broker-1", no cluster, no peers, three data shards, group 0 created, nobody known:
/// <code>
/// 42 52 4B 52 4E 4F 44 45  04 00 00 00 .. .. .. ..  01 00 00 00  (store id)  (16 zeros)
/// 08 00 00 00 00 00 00 00  03 00 00 00 02 00 00 00  00 00 00 00 01 00 00 00
/// 62 72 6F 6B 65 72 2D 31  00 00 00 00  00 00 00 00  00 00 00 00  00  03
/// </code>
/// </summary>
/// <param name="Identity">Who the disk belongs to.</param>
/// <param name="PeerStores">The disks that the peers had when they were first met.</param>
/// <param name="Groups">The groups that have a log on this disk, or had one before it was lost.</param>
/// <param name="Sequence">Counts the records; of two files the one with the higher number is the truth.</param>
/// <param name="Founders">The nodes that the groups began with; empty: not known, as in format 2.</param>
/// <param name="Members">Who belonged to the cluster when this node last heard of it; empty: not known.</param>
/// <param name="IsRemoved">The cluster has taken this disk out: it never takes part again.</param>
/// <param name="Roles">What the node is for, from the disk's first start on; both, in older formats.</param>
internal sealed record NodeRecord(
    StoreIdentity Identity,
    IReadOnlyDictionary<NodeId, Guid> PeerStores,
    ImmutableSortedSet<int> Groups,
    long Sequence,
    ImmutableArray<Founder> Founders,
    ImmutableArray<KnownMember> Members,
    bool IsRemoved = false,
    NodeRoles Roles = NodeRoles.Both)
{
    /// <summary>
    /// A file beyond this is not ours: 1,024 peers, 2,048 groups and 32 members with long names need less.
    /// </summary>
    public const int MaxBytes = 64 * 1024;

    public const uint FormatVersion = 4;
    private const uint WithoutRoles = 3;
    private const uint WithoutMembers = 2;
    private const int FixedBytes = 76;
    private const int GuidBytes = 16;
    private const int PeerBytes = sizeof(int) + GuidBytes;

    public static ReadOnlySpan<byte> Magic => "BRKRNODE"u8;

    public byte[] Encode()
    {
        var name = Encoding.UTF8.GetBytes(Identity.NodeName);
        var tail = EncodeTail();
        var block = new byte[
            FixedBytes + name.Length + (PeerStores.Count * PeerBytes) + (Groups.Count * sizeof(int)) + tail.Length];
        Invariant.Check(block.Length <= MaxBytes, "the node record is within its limit");
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(16), Identity.NodeId.Value);
        Identity.StoreId.TryWriteBytes(block.AsSpan(20));
        (Identity.ClusterId ?? Guid.Empty).TryWriteBytes(block.AsSpan(36));
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(52), name.Length);
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(56), PeerStores.Count);
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(60), Identity.DataShards);
        BinaryPrimitives.WriteInt64LittleEndian(block.AsSpan(64), Sequence);
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(72), Groups.Count);
        name.CopyTo(block, FixedBytes);
        var at = FixedBytes + name.Length;
        foreach (var (peer, storeId) in PeerStores.OrderBy(static pair => pair.Key.Value))
        {
            BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(at), peer.Value);
            storeId.TryWriteBytes(block.AsSpan(at + sizeof(int)));
            at += PeerBytes;
        }

        foreach (var group in Groups)
        {
            BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(at), group);
            at += sizeof(int);
        }

        tail.CopyTo(block, at);
        CheckedBlock.Seal(block, Magic, FormatVersion);
        return block;
    }

    /// <summary>Null when the file is damaged.</summary>
    public static NodeRecord? TryDecode(ReadOnlySpan<byte> block, string path)
    {
        if (!CheckedBlock.IsIntact(block, Magic))
        {
            return null;
        }

        var format = BinaryPrimitives.ReadUInt32LittleEndian(block[8..]);
        var isFormer = format == WithoutMembers;
        CheckedBlock.CheckVersion(block, path, format is WithoutMembers or WithoutRoles ? format : FormatVersion);
        var nameBytes = BinaryPrimitives.ReadInt32LittleEndian(block[52..]);
        var peerCount = BinaryPrimitives.ReadInt32LittleEndian(block[56..]);
        var groupCount = BinaryPrimitives.ReadInt32LittleEndian(block[72..]);
        var groupsAt = FixedBytes + (long)nameBytes + ((long)peerCount * PeerBytes);
        var tailAt = groupsAt + ((long)groupCount * sizeof(int));
        if (nameBytes < 0 || peerCount < 0 || groupCount < 0 || tailAt > block.Length
            || (isFormer && tailAt != block.Length))
        {
            return null;
        }

        var peers = new Dictionary<NodeId, Guid>(peerCount);
        for (var at = FixedBytes + nameBytes; at < groupsAt; at += PeerBytes)
        {
            peers[new NodeId(BinaryPrimitives.ReadInt32LittleEndian(block[at..]))] =
                new Guid(block.Slice(at + sizeof(int), GuidBytes));
        }

        var groups = ImmutableSortedSet.CreateBuilder<int>();
        for (var at = (int)groupsAt; at < tailAt; at += sizeof(int))
        {
            groups.Add(BinaryPrimitives.ReadInt32LittleEndian(block[at..]));
        }

        var clusterId = new Guid(block.Slice(36, GuidBytes));
        var identity = new StoreIdentity(
            new Guid(block.Slice(20, GuidBytes)),
            new NodeId(BinaryPrimitives.ReadInt32LittleEndian(block[16..])),
            Encoding.UTF8.GetString(block.Slice(FixedBytes, nameBytes)),
            clusterId == Guid.Empty ? null : clusterId,
            BinaryPrimitives.ReadInt32LittleEndian(block[60..]));
        var record = new NodeRecord(
            identity, peers, groups.ToImmutable(), BinaryPrimitives.ReadInt64LittleEndian(block[64..]), [], []);
        return isFormer ? record : record.WithTail(block[(int)tailAt..], format);
    }

    private byte[] EncodeTail()
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        writer.Write(Founders.Length);
        foreach (var founder in Founders)
        {
            writer.Write(founder.Node.Value);
            writer.Write((byte)founder.Roles);
        }

        writer.Write(Members.Length);
        foreach (var member in Members)
        {
            writer.Write(member.Node.Value);
            WriteText(writer, member.Name);
            WriteText(writer, member.Address);
        }

        writer.Write(IsRemoved);
        writer.Write((byte)Roles);
        writer.Flush();
        return stream.ToArray();
    }

    private static void WriteText(BinaryWriter writer, string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        writer.Write(bytes.Length);
        writer.Write(bytes);
    }

    /// <summary>The checksum fits, so the tail is what this code wrote.</summary>
    private NodeRecord? WithTail(ReadOnlySpan<byte> tail, uint format)
    {
        using var reader = new BinaryReader(new MemoryStream(tail.ToArray()));
        var founders = ImmutableArray.CreateBuilder<Founder>();
        for (var left = reader.ReadInt32(); left > 0; left--)
        {
            founders.Add(new Founder(new NodeId(reader.ReadInt32()), ReadRoles(reader, format)));
        }

        var members = ImmutableArray.CreateBuilder<KnownMember>();
        for (var left = reader.ReadInt32(); left > 0; left--)
        {
            members.Add(new KnownMember(new NodeId(reader.ReadInt32()), ReadText(reader), ReadText(reader)));
        }

        var isRemoved = reader.ReadBoolean();
        var roles = ReadRoles(reader, format);
        return reader.BaseStream.Position != tail.Length
            ? null
            : this with
            {
                Founders = founders.ToImmutable(),
                Members = members.ToImmutable(),
                IsRemoved = isRemoved,
                Roles = roles,
            };
    }

    private static NodeRoles ReadRoles(BinaryReader reader, uint format) =>
        format == WithoutRoles ? NodeRoles.Both : (NodeRoles)reader.ReadByte();

    private static string ReadText(BinaryReader reader) =>
        Encoding.UTF8.GetString(reader.ReadBytes(reader.ReadInt32()));
}

/// <summary>Who a disk belongs to.</summary>
/// <param name="StoreId">Drawn at the disk's first start; a wiped disk gets another one, so that peers notice.</param>
/// <param name="NodeId">The node's number in the cluster.</param>
/// <param name="NodeName">The node's name, as its operator configures it.</param>
/// <param name="ClusterId">The cluster that the disk is a part of; null until it has joined one.</param>
/// <param name="DataShards">Raft groups for topics: another number would look for topics where they are not.</param>
public readonly record struct StoreIdentity(
    Guid StoreId, NodeId NodeId, string NodeName, Guid? ClusterId, int DataShards);

/// <summary>A member of the cluster, as a node remembers it for its next start.</summary>
public sealed record KnownMember(NodeId Node, string Name, string Address);

/// <summary>
/// A node's record in two files of its folder. Each is written anew and replaces the old one when it is durable, so a
/// crash leaves the one or the other; and one after the other, so that damage of one is mended from the other.
/// </summary>
internal sealed class NodeFiles(IStorageDevice device, string folder)
{
    private readonly string _path = Path.Combine(folder, "node.id");
    private readonly string _copyPath = Path.Combine(folder, "node.id.copy");

    /// <summary>The newer of both, and whether it stands in both; null when the disk is a new one.</summary>
    /// <exception cref="StorageCorruptException">There are files, and none of them can be used.</exception>
    public (NodeRecord? Record, bool IsInBoth) Read()
    {
        var first = TryRead(_path);
        var second = TryRead(_copyPath);
        if (first is null && second is null)
        {
            ThrowIfThere(_path);
            ThrowIfThere(_copyPath);
        }

        return (first?.Sequence >= second?.Sequence ? first : second ?? first, first?.Sequence == second?.Sequence);
    }

    /// <summary>Makes a record durable in both.</summary>
    public void Write(NodeRecord record)
    {
        Write(_path, record);
        Write(_copyPath, record);
    }

    /// <summary>Null when the file is missing or damaged.</summary>
    private NodeRecord? TryRead(string path)
    {
        if (!device.Exists(path))
        {
            return null;
        }

        using var file = device.Open(path, create: false);
        var block = new byte[Math.Min(file.Length, NodeRecord.MaxBytes + 1)];
        int count;
        try
        {
            count = file.Read(0, block);
        }
        catch (IOException)
        {
            // What the disk cannot read is as good as damaged: the other file decides.
            return null;
        }

        return count > NodeRecord.MaxBytes ? null : NodeRecord.TryDecode(block.AsSpan(0, count), path);
    }

    /// <summary>A disk that has any of them is not a new one.</summary>
    private void ThrowIfThere(string path)
    {
        if (device.Exists(path))
        {
            throw new StorageCorruptException(
                path, 0, "a node record with a matching checksum, here or in its copy; without it nobody knows "
                + "whose disk this is. Its peers have what was in this folder: give the node an empty one, and "
                + "start it once with Broker__ReplaceLostDisk=true");
        }
    }

    private void Write(string path, NodeRecord record)
    {
        var temporary = path + GroupFolder.TemporarySuffix;
        if (device.Exists(temporary))
        {
            device.Delete(temporary);
        }

        using (var file = device.Open(temporary, create: true))
        {
            file.Write(0, record.Encode());
            file.Sync();
        }

        device.Rename(temporary, path);
        device.SyncFolder(folder);
    }
}
