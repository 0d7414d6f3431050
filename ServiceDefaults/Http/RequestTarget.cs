using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Broker.ServiceDefaults.Http;

/// <summary>
/// Reads names out of a request's address, each percent-decoded once and whole. ASP.NET Core's own values leave %2F and
/// what is not UTF-8 as they stand, so that "a%2Fb" and "a%252Fb" are one name there. Every error is a
/// <see cref="BadHttpRequestException"/> with a sentence, which <see cref="RequestProblems"/> answers.
/// </summary>
public static class RequestTarget
{
    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    /// <summary>The last segment of a path that has so many, e.g. "a/b" of /publish/a%2Fb, which has two.</summary>
    public static string LastSegment(HttpRequest request, int segments)
    {
        ArgumentNullException.ThrowIfNull(request);
        var path = Split(request).Path;
        var parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        return parts.Length == segments
            ? Decode(parts[^1], "The address's last part")
            : throw new BadHttpRequestException(
                $"The address '{path}' has {parts.Length} parts; expected {segments}. Write a slash in a name as %2F, "
                + "and leave '.' and '..' out.");
    }

    /// <summary>
    /// One segment of a path that has so many, by its place from 0. A verb such as ":purge" that must end it is taken
    /// off before it is decoded: a colon of a name's own may be written %3A.
    /// </summary>
    public static string Segment(HttpRequest request, int segments, int place, string verb = "")
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(verb);
        var path = Split(request).Path;
        var parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        if (parts.Length != segments || !parts[place].EndsWith(verb, StringComparison.Ordinal))
        {
            throw new BadHttpRequestException(
                $"The address '{path}' has {parts.Length} parts; expected {segments}. Write a slash in a name as %2F, "
                + "and leave '.' and '..' out.");
        }

        return Decode(parts[place][..^verb.Length], "A name in the address");
    }

    /// <summary>The path and the query as they were sent.</summary>
    public static string PathAndQuery(HttpRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var (path, query) = Split(request);
        return query.Length == 0 ? path : $"{path}?{query}";
    }

    /// <summary>The query, which may have these parameters, each once.</summary>
    public static RequestQuery Query(HttpRequest request, params string[] known)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(known);
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var pair in Split(request).Query.Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var equals = pair.IndexOf('=', StringComparison.Ordinal);
            var name = DecodeForm(equals < 0 ? pair : pair[..equals], "A query parameter's name");
            if (!known.Contains(name, StringComparer.Ordinal))
            {
                throw new BadHttpRequestException(
                    $"There is no query parameter '{name}' here; expected {Names(known)}.");
            }

            var value = DecodeForm(equals < 0 ? "" : pair[(equals + 1)..], $"The query parameter {name}");
            if (!values.TryAdd(name, value))
            {
                throw new BadHttpRequestException($"The query parameter {name} comes twice; send it once.");
            }
        }

        return new RequestQuery(values);
    }

    private static string Names(string[] known) => known.Length == 0 ? "none" : string.Join(", ", known);

    // The target as it was sent: "/path?query", or with scheme and host before it as for a proxy.
    private static (string Path, string Query) Split(HttpRequest request)
    {
        var target = request.HttpContext.Features.Get<IHttpRequestFeature>()!.RawTarget;
        if (!target.StartsWith('/'))
        {
            var host = target.IndexOf("://", StringComparison.Ordinal);
            var begin = host < 0 ? -1 : target.IndexOf('/', host + 3);
            target = begin < 0 ? "/" : target[begin..];
        }

        var mark = target.IndexOf('?', StringComparison.Ordinal);
        return mark < 0 ? (target, "") : (target[..mark], target[(mark + 1)..]);
    }

    // As HTML forms write it: a space is '+', and a plus %2B.
    private static string DecodeForm(string text, string what) => Decode(text.Replace('+', ' '), what);

    private static string Decode(string text, string what)
    {
        var bytes = new byte[Encoding.UTF8.GetMaxByteCount(text.Length)];
        var count = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != '%')
            {
                count += Encoding.UTF8.GetBytes(text.AsSpan(i, 1), bytes.AsSpan(count));
            }
            else if (i + 2 < text.Length
                && byte.TryParse(
                    text.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var octet))
            {
                bytes[count++] = octet;
                i += 2;
            }
            else
            {
                throw new BadHttpRequestException(
                    $"{what} has a '%' without two hexadecimal digits behind it. Write a percent sign as %25.");
            }
        }

        try
        {
            return Strict.GetString(bytes, 0, count);
        }
        catch (DecoderFallbackException e)
        {
            throw new BadHttpRequestException($"{what} is not UTF-8 once its percent signs are decoded.", e);
        }
    }
}

/// <summary>The query of one request.</summary>
public sealed class RequestQuery
{
    private const long LongestDelayMs = 36_500L * 24 * 60 * 60 * 1000;

    private readonly Dictionary<string, string> _values;

    internal RequestQuery(Dictionary<string, string> values) => _values = values;

    /// <summary>A parameter's text; null when it is absent.</summary>
    public string? Text(string name) => _values.GetValueOrDefault(name);

    /// <summary>A parameter's number.</summary>
    public long Number(string name, long whenAbsent, long least, long most)
    {
        if (Text(name) is not { } text)
        {
            return whenAbsent;
        }

        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
            && number >= least && number <= most
            ? number
            : throw new BadHttpRequestException(
                $"The query parameter {name} is '{text}'; expected a whole number from {least} to {most}.");
    }

    /// <summary>
    /// When a message is due: deliver_at, which is RFC 3339 or milliseconds since the Unix epoch, or delay_ms from now.
    /// In milliseconds since the epoch; 0: neither is there.
    /// </summary>
    public long DueUnixMs(TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(time);
        if (Text("deliver_at") is not { } text)
        {
            return Text("delay_ms") is null
                ? 0
                : time.GetUtcNow().ToUnixTimeMilliseconds() + Number("delay_ms", 0, 0, LongestDelayMs);
        }

        if (Text("delay_ms") is not null)
        {
            throw new BadHttpRequestException("The query has deliver_at and delay_ms; send one of them.");
        }

        return TryTime(text, out var milliseconds)
            || long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out milliseconds)
            ? milliseconds
            : throw new BadHttpRequestException(
                $"The query parameter deliver_at is '{text}'; expected a time such as 2030-12-31T08:00:00Z (a plus "
                + "sign in an address is %2B), or milliseconds since 1970.");
    }

    /// <summary>A time of day with its date, RFC 3339, in milliseconds since the Unix epoch.</summary>
    public static bool TryTime(string text, out long milliseconds)
    {
        ArgumentNullException.ThrowIfNull(text);
        var isTime = DateTimeOffset.TryParse(
            text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) && text.Contains('T');
        milliseconds = time.ToUnixTimeMilliseconds();
        return isTime && milliseconds >= 0;
    }
}
