using System.Globalization;
using Broker.Domain;
using Broker.ServiceDefaults.Http;

namespace Broker.Api;

/// <summary>
/// Names out of an address. ASP.NET Core's own values leave %2F as it stands, so each is taken from what was sent, and
/// percent-decoded once and whole.
/// </summary>
internal static class HttpTarget
{
    /// <summary>The name at a place of the path, from 0, without the verb that may stand behind a colon.</summary>
    /// <example>/v1/topics/orders.eu:purge, place 2, verb "purge": orders.eu.</example>
    public static string NameAt(HttpRequest request, string pattern, int place)
    {
        var segments = pattern.Split('/', StringSplitOptions.RemoveEmptyEntries);
        var colon = segments[place].IndexOf(':', StringComparison.Ordinal);
        var verb = colon < 0 ? "" : segments[place][colon..];
        return RequestTarget.Segment(request, segments.Length, place, verb);
    }

    /// <summary>The number there.</summary>
    public static uint NumberAt(HttpRequest request, string pattern, int place)
    {
        var text = NameAt(request, pattern, place);
        return uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw HttpRefusal.Invalid($"The address names number '{text}'; expected a whole number.");
    }

    /// <summary>A header that comes at most once.</summary>
    public static string? Header(HttpRequest request, string name) => request.Headers[name] is var values
        && values.Count <= 1
        ? values.Count == 0 ? null : values[0]
        : throw HttpRefusal.Invalid($"The header {name} comes {values.Count} times; send it once.");

    /// <summary>Where a read begins.</summary>
    public static ReadFrom From(string? text)
    {
        if (text is null)
        {
            return new ReadFrom(ReadFromKind.Absent);
        }

        return text switch
        {
            "beginning" => new ReadFrom(ReadFromKind.Beginning),
            "end" => new ReadFrom(ReadFromKind.End),
            _ when long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var offset) =>
                new ReadFrom(ReadFromKind.Offset, offset),
            _ when RequestQuery.TryTime(text, out var time) => new ReadFrom(ReadFromKind.Time, time),
            _ => throw HttpRefusal.Invalid(
                $"The query parameter from is '{text}'; expected an offset, 'beginning', 'end', or a time such as "
                + "2030-12-31T08:00:00Z (a plus sign in an address is %2B)."),
        };
    }

    /// <summary>A call ends after a while, whoever waits for it: see <see cref="Limits.HttpCallMs"/>.</summary>
    public static CancellationTokenSource Patience(HttpContext http, int milliseconds)
    {
        var patience = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted);
        patience.CancelAfter(milliseconds);
        return patience;
    }
}

internal enum ReadFromKind
{
    Absent,
    Beginning,
    End,
    Offset,
    Time,
}

/// <summary>Where a read begins.</summary>
/// <param name="Kind">By what it is said.</param>
/// <param name="Value">The offset, or the time in milliseconds since the Unix epoch.</param>
internal readonly record struct ReadFrom(ReadFromKind Kind, long Value = 0);
