using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// The topic of the broker's own in which a topic's delayed records (those of one of its partitions) stand again when
/// they are due, in that order: each as a reference, a record whose value is the offset. Groups follow it beside the
/// topic, and give out what is referred to. That of the topic "orders" is called "$due orders", that of its partition 3
/// "$due orders #3": no name of a user's has a space, so nobody can publish to it or read it. A reference to offset 7:
/// <code>
/// 0A 0A                         records[0], 10 bytes
///   12 08 07 00 00 00 00 00 00 00    value: i64, little-endian
/// </code>
/// </summary>
internal static class DueTopic
{
    /// <summary>What the longest name has more than the longest name of a topic.</summary>
    public const int MoreNameBytes = 5;

    /// <summary>One of them as a part of a batch.</summary>
    public const int ReferenceBytes = 12;

    private const string Prefix = "$due ";

    private static ReadOnlySpan<byte> ReferenceHeader => [0x0A, 0x0A, 0x12, 0x08];

    /// <param name="place">The name under which the topic, or the partition, stands in its shard.</param>
    public static string Of(string place) => Prefix + place;

    public static bool IsOne(string place) => place.StartsWith(Prefix, StringComparison.Ordinal);

    /// <summary>The place of the records that it refers to; of another topic that topic itself.</summary>
    public static string TargetOf(string place) => IsOne(place) ? place[Prefix.Length..] : place;

    public static void WriteReference(Span<byte> into, long offset)
    {
        ReferenceHeader.CopyTo(into);
        BinaryPrimitives.WriteInt64LittleEndian(into[ReferenceHeader.Length..], offset);
    }

    /// <summary>Takes the first reference off some, and answers the offset.</summary>
    public static long TakeReference(ref ReadOnlySpan<byte> references)
    {
        Invariant.Check(
            references.Length >= ReferenceBytes && references.StartsWith(ReferenceHeader),
            "what is due is named by references");
        var offset = BinaryPrimitives.ReadInt64LittleEndian(references[ReferenceHeader.Length..]);
        references = references[ReferenceBytes..];
        return offset;
    }
}
