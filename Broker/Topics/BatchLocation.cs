using Broker.Domain;

namespace Broker.Topics;

/// <summary>Where one stored batch is: 40 bytes a batch, kept for every batch of a topic.</summary>
/// <param name="BaseOffset">Offset of its first record.</param>
/// <param name="Count">Its records.</param>
/// <param name="Position">Where its bytes begin within the entry's body.</param>
/// <param name="LogIndex">The entry that holds it.</param>
/// <param name="TimestampUnixMs">The entry's time.</param>
/// <param name="Length">How many bytes it has.</param>
public readonly record struct BatchLocation(
    long BaseOffset, int Count, int Position, LogIndex LogIndex, long TimestampUnixMs, int Length)
{
    /// <summary>The offset after its last record.</summary>
    public long EndOffset => BaseOffset + Count;
}
