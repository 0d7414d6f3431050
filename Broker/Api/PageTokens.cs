using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Broker.Delivery;
using Broker.Domain;

namespace Broker.Api;

/// <summary>
/// Where a list of records goes on: "partition:offset", or "partition:offset:topic" of records of several topics. Empty
/// is the beginning. Lists of names go on behind the last name instead.
/// </summary>
internal static class PageTokens
{
    public static string Of(int partition, long offset) =>
        string.Create(CultureInfo.InvariantCulture, $"{partition}:{offset}");

    public static string Of(in PlaceOfRecord place) =>
        string.Create(CultureInfo.InvariantCulture, $"{place.Partition}:{place.Offset}:{place.Topic}");

    /// <exception cref="BrokerException">InvalidArgument: it is none that a broker has given.</exception>
    public static (int Partition, long Offset) Read(string token) =>
        token.Length == 0 ? (0, 0)
        : TryRead(token, count: 2, out _, out var partition, out var offset)
            ? (partition, offset)
            : throw Wrong();

    /// <summary>Null: the beginning.</summary>
    /// <param name="token">As it came.</param>
    /// <exception cref="BrokerException">InvalidArgument: it is none that a broker has given.</exception>
    public static PlaceOfRecord? ReadPlace(string token) =>
        token.Length == 0 ? null
        : TryRead(token, count: 3, out var parts, out var partition, out var offset) && parts[2].Length > 0
            ? new PlaceOfRecord(parts[2], partition, offset)
            : throw Wrong();

    /// <summary>How many entries a page has, of those that the request asks for.</summary>
    public static int SizeOf(uint wanted, int whenZero, int most) =>
        wanted == 0 ? whenZero : (int)Math.Min(wanted, (uint)most);

    private static bool TryRead(
        string token, int count, [NotNullWhen(true)] out string[]? parts, out int partition, out long offset)
    {
        (parts, partition, offset) = (token.Split(':', count), 0, 0);
        return parts.Length == count
            && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out partition)
            && long.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out offset);
    }

    private static BrokerException Wrong() => Refusal.InvalidArgument(
        "page_token is none that a broker has given for this list; take it as it is from the answer before.");
}
