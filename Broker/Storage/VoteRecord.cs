using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// One slot of the vote file, 512 bytes, little endian; the rest is zero:
/// <code>
///  0 "BRKRVOTE"         8 format version      12 CRC32C of all other bytes of the slot
/// 16 sequence          24 term                32 voted for      36 group
/// 40 store id (16)     56 durable floor       64 truncation epoch  68 zero
/// 72 first index of the active segment
/// </code>
/// Slot number 9: term 4, vote for node 2, entries up to 6 durable, active segment begins at 1:
/// <code>
/// 42 52 4B 52 56 4F 54 45  01 00 00 00 .. .. .. ..  09 00 00 00 00 00 00 00  04 00 00 00 00 00 00 00
/// 02 00 00 00 03 00 00 00  (store id)  06 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  01 00 00 00 00 00 00 00
/// </code>
/// </summary>
/// <param name="Sequence">Counts the writes of the vote file; the slot with the higher one is the truth.</param>
/// <param name="HardState">Term and vote.</param>
/// <param name="DurableFloor">Entries up to here were durable when the slot was written: without them the disk is
/// damaged.</param>
/// <param name="TruncationEpoch">Counts truncations. What older epochs say about indexes above the floor is
/// void.</param>
/// <param name="ActiveSegment">First index of a segment that must exist; 0 before the first one.</param>
internal sealed record VoteRecord(
    long Sequence, HardState HardState, LogIndex DurableFloor, uint TruncationEpoch, LogIndex ActiveSegment)
{
    public const int SizeBytes = 512;

    /// <summary>What a new group begins with.</summary>
    public static readonly VoteRecord Initial = new(0, default, LogIndex.None, 0, LogIndex.None);

    public static ReadOnlySpan<byte> Magic => "BRKRVOTE"u8;

    public void Encode(Span<byte> slot, GroupId group, Guid storeId)
    {
        slot.Clear();
        BinaryPrimitives.WriteInt64LittleEndian(slot[16..], Sequence);
        BinaryPrimitives.WriteInt64LittleEndian(slot[24..], HardState.Term.Value);
        BinaryPrimitives.WriteInt32LittleEndian(slot[32..], HardState.VotedFor.Value);
        BinaryPrimitives.WriteInt32LittleEndian(slot[36..], group.Value);
        storeId.TryWriteBytes(slot[40..]);
        BinaryPrimitives.WriteInt64LittleEndian(slot[56..], DurableFloor.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[64..], TruncationEpoch);
        BinaryPrimitives.WriteInt64LittleEndian(slot[72..], ActiveSegment.Value);
        CheckedBlock.Seal(slot, Magic);
    }

    /// <summary>Null when the slot is torn or damaged.</summary>
    public static VoteRecord? TryDecode(ReadOnlySpan<byte> slot, string path, GroupId group, Guid storeId)
    {
        if (!CheckedBlock.IsIntact(slot, Magic))
        {
            return null;
        }

        CheckedBlock.CheckVersion(slot, path);
        GroupFolder.CheckOwner(
            path,
            group,
            storeId,
            new GroupId(BinaryPrimitives.ReadInt32LittleEndian(slot[36..])),
            new Guid(slot.Slice(40, 16)));
        return new VoteRecord(
            BinaryPrimitives.ReadInt64LittleEndian(slot[16..]),
            new HardState(
                new Term(BinaryPrimitives.ReadInt64LittleEndian(slot[24..])),
                new NodeId(BinaryPrimitives.ReadInt32LittleEndian(slot[32..]))),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(slot[56..])),
            BinaryPrimitives.ReadUInt32LittleEndian(slot[64..]),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(slot[72..])));
    }
}
