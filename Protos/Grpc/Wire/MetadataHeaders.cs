using Grpc.Core;

namespace Grpc.Wire;

/// <summary>Metadata entries as HTTP headers: text as it is, bytes as base64 without padding.</summary>
internal static class MetadataHeaders
{
    /// <summary>The value as a header; false for text that HTTP does not carry.</summary>
    public static bool TryEncode(Metadata.Entry entry, out string value)
    {
        value = entry.IsBinary ? Convert.ToBase64String(entry.BytesUncopied).TrimEnd('=') : entry.Value;
        return !value.AsSpan().ContainsAnyExceptInRange(' ', '~');
    }

    public static string DescribeBadText(Metadata.Entry entry) =>
        $"The metadata value of '{entry.Key}' is not printable ASCII; send bytes under a key that ends in '-bin'.";

    /// <summary>
    /// Adds a received header. What belongs to HTTP or to the protocol is not metadata and is left out.
    /// </summary>
    public static void Add(Metadata metadata, string name, string value)
    {
        if (IsProtocolHeader(name) || !Metadata.Entry.IsValidKey(name))
        {
            return;
        }

        if (!name.EndsWith(Metadata.BinaryHeaderSuffix, StringComparison.OrdinalIgnoreCase))
        {
            metadata.Add(name, value);
            return;
        }

        // Several binary values of one key may come joined by commas, which base64 does not use.
        foreach (var part in value.Split(',', StringSplitOptions.TrimEntries))
        {
            metadata.Add(name, DecodeBase64(name, part));
        }
    }

    private static byte[] DecodeBase64(string name, string text)
    {
        var padded = (text.Length % 4) switch
        {
            2 => text + "==",
            3 => text + "=",
            _ => text,
        };
        try
        {
            return Convert.FromBase64String(padded);
        }
        catch (FormatException exception)
        {
            throw new RpcException(new Status(
                StatusCode.Internal, $"The binary header '{name}' does not hold valid base64.", exception));
        }
    }

    private static bool IsProtocolHeader(string name) => name.Length == 0 || name[0] switch
    {
        ':' => true,
        'g' or 'G' => Is(name, GrpcHeaders.Status) || Is(name, GrpcHeaders.Message) || Is(name, GrpcHeaders.Timeout)
            || Is(name, GrpcHeaders.Encoding) || Is(name, GrpcHeaders.AcceptEncoding),
        'c' or 'C' => Is(name, "content-type") || Is(name, "content-length") || Is(name, "connection"),
        't' or 'T' => Is(name, "te") || Is(name, "trailer") || Is(name, "transfer-encoding"),
        'h' or 'H' => Is(name, "host"),
        _ => false,
    };

    private static bool Is(string name, string other) => string.Equals(name, other, StringComparison.OrdinalIgnoreCase);
}
