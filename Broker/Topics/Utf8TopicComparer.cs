using System.Text;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// Compares topic names with the bytes that stand in the log, so that applying a publish to a known topic makes no
/// string. The hash is seeded per process (as HashCode is): names come from clients, who could otherwise pick colliding
/// ones. Nothing replicated depends on it.
/// </summary>
internal sealed class Utf8TopicComparer
    : IEqualityComparer<string>, IAlternateEqualityComparer<ReadOnlySpan<byte>, string>
{
    public static readonly Utf8TopicComparer Instance = new();

    public string Create(ReadOnlySpan<byte> alternate) => Encoding.UTF8.GetString(alternate);

    public bool Equals(string? x, string? y) => string.Equals(x, y, StringComparison.Ordinal);

    public bool Equals(ReadOnlySpan<byte> alternate, string other)
    {
        if (Ascii.Equals(alternate, other))
        {
            return true;
        }

        Span<byte> bytes = stackalloc byte[Limits.TopicNameBytes];
        return Encoding.UTF8.TryGetBytes(other, bytes, out var length) && bytes[..length].SequenceEqual(alternate);
    }

    public int GetHashCode(ReadOnlySpan<byte> alternate)
    {
        var hash = default(HashCode);
        hash.AddBytes(alternate);
        return hash.ToHashCode();
    }

    public int GetHashCode(string obj)
    {
        // A reader may ask for any string; one that is too long for a name is in no dictionary, so any hash will do.
        Span<byte> bytes = stackalloc byte[Limits.TopicNameBytes];
        return Encoding.UTF8.TryGetBytes(obj, bytes, out var length) ? GetHashCode(bytes[..length]) : 0;
    }
}
