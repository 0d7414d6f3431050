namespace Grpc.Wire;

/// <summary>Names and values that gRPC over HTTP/2 fixes (grpc/doc/PROTOCOL-HTTP2.md).</summary>
internal static class GrpcHeaders
{
    public const string ContentType = "application/grpc";
    public const string Status = "grpc-status";
    public const string Message = "grpc-message";
    public const string Timeout = "grpc-timeout";
    public const string Encoding = "grpc-encoding";
    public const string AcceptEncoding = "grpc-accept-encoding";
    public const string Identity = "identity";
    public const string Gzip = "gzip";
    public const string SupportedEncodings = "identity,gzip";

    /// <summary>
    /// The metadata key by which a caller of the official client asks for a compressed request. Never sent.
    /// </summary>
    public const string RequestEncodingKey = "grpc-internal-encoding-request";

    /// <summary>Four MiB, the default of every gRPC implementation for received messages.</summary>
    public const int DefaultMaxReceiveSizeBytes = 4 * 1024 * 1024;

    /// <summary>
    /// "application/grpc", or that followed by "+proto" or ";charset=...". Not "application/grpc-web".
    /// </summary>
    public static bool IsGrpcContentType(string? contentType) =>
        contentType is not null
        && contentType.StartsWith(ContentType, StringComparison.OrdinalIgnoreCase)
        && (contentType.Length == ContentType.Length || contentType[ContentType.Length] is '+' or ';' or ' ');
}
