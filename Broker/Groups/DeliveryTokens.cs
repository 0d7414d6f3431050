using System.Buffers.Binary;
using Broker.Domain;
using Broker.State;

namespace Broker.Groups;

/// <summary>
/// How a delivery is named towards clients, to whom it says nothing. It names the shard and the group too, so it can be
/// settled at any node.
/// <code>
/// format 1 | varints: shard, group, topic, turn, term, lease, deadline, attempt, first offset, count | CRC-32C of all
/// </code>
/// </summary>
internal static class DeliveryTokens
{
    private const byte Format = 1;
    private const int Fields = 10;
    private const int CrcBytes = sizeof(uint);

    public static byte[] Encode(GroupId shard, int group, in DeliveryToken token)
    {
        Span<byte> bytes = stackalloc byte[1 + (Fields * PayloadWriter.MaxVarintBytes) + CrcBytes];
        var writer = new PayloadWriter(bytes);
        writer.PutByte(Format);
        ReadOnlySpan<long> fields =
        [
            shard.Value, group, token.Topic, token.Turn, token.Term, token.Lease, token.DeadlineUnixMs, token.Attempt,
            token.Range.First, token.Range.Count,
        ];
        foreach (var field in fields)
        {
            writer.PutVarint((ulong)field);
        }

        writer.PutUInt32(Crc32C.Compute(bytes[..writer.Written]));
        return bytes[..writer.Written].ToArray();
    }

    /// <summary>False: it is none that a broker of this version has given out.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> bytes, out GroupId shard, out int group, out DeliveryToken token)
    {
        (shard, group, token) = (default, 0, default);
        if (bytes.Length is <= 1 + CrcBytes or > Limits.DeliveryTokenBytes || bytes[0] != Format
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes[^CrcBytes..]) != Crc32C.Compute(bytes[..^CrcBytes]))
        {
            return false;
        }

        Span<long> fields = stackalloc long[Fields];
        var rest = bytes[1..^CrcBytes];
        foreach (ref var field in fields)
        {
            if (!TryTake(ref rest, out field))
            {
                return false;
            }
        }

        if (rest.Length > 0 || fields[..4].ContainsAnyExceptInRange(0, int.MaxValue)
            || fields[7] > int.MaxValue || fields[9] > GroupDispatcher.RunRecords
            || fields[8] > long.MaxValue - GroupDispatcher.RunRecords)
        {
            return false;
        }

        shard = new GroupId((int)fields[0]);
        group = (int)fields[1];
        token = new DeliveryToken(
            (int)fields[2],
            (int)fields[3],
            fields[4],
            fields[5],
            fields[6],
            (int)fields[7],
            new OffsetRange(fields[8], fields[8] + fields[9]));
        return true;
    }

    private static bool TryTake(ref ReadOnlySpan<byte> bytes, out long value)
    {
        value = 0;
        for (var (at, shift) = (0, 0); at < bytes.Length && shift < 63; at++, shift += 7)
        {
            value |= (long)(bytes[at] & 0x7F) << shift;
            if (bytes[at] < 0x80)
            {
                bytes = bytes[(at + 1)..];
                return true;
            }
        }

        return false;
    }
}
