using Grpc.Core;
using Grpc.Wire;
using Microsoft.AspNetCore.Http;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>One call on the server: its context, its deadline, and the buffers that its messages share.</summary>
internal sealed partial class ServerCall(HttpContext http, IMethod method, ServerSettings settings)
    : ServerCallContext, IDisposable
{
    private Metadata? _requestHeaders;
    private Metadata? _responseTrailers;
    private AuthContext? _authContext;
    private CancellationTokenSource? _deadlineSource;
    private CancellationTokenRegistration _abortRegistration;
    private DateTime _deadline = DateTime.MaxValue;
    private bool _hasHeaders;
    private bool _isGzip;
    private volatile bool _wasAborted;

    public HttpContext HttpContext => http;

    public GrpcServiceOptions Options => settings.Options;

    public PayloadReader PayloadReader { get; } = new();

    public FrameWriter FrameWriter { get; } = new(
        http.Response.BodyWriter, settings.Options.MaxSendMessageSize, settings.Options.ResponseCompressionLevel);

    public string? RequestEncoding => http.Request.Headers[GrpcHeaders.Encoding];

    /// <summary>Whether the next response is to be compressed.</summary>
    public bool CompressesNow => _isGzip && ((WriteOptionsCore?.Flags ?? default) & WriteFlags.NoCompress) == 0;

    /// <summary>The status is on its way, so that nothing more may be written.</summary>
    public bool HasEnded { get; private set; }

    /// <summary>
    /// Whether a token of its own is needed to cut a read or a write short; an abort of the request does so by itself.
    /// </summary>
    public bool HasDeadline => _deadlineSource is not null;

    private bool IsPastDeadline => _deadlineSource is { IsCancellationRequested: true } && !IsAborted;

    private bool IsAborted => _wasAborted || http.RequestAborted.IsCancellationRequested;

    protected override string MethodCore => method.FullName;

    protected override string HostCore => http.Request.Host.Value ?? "";

    protected override string PeerCore => FormatPeer(http.Connection);

    protected override DateTime DeadlineCore => _deadline;

    protected override CancellationToken CancellationTokenCore => _deadlineSource?.Token ?? http.RequestAborted;

    protected override Metadata RequestHeadersCore => _requestHeaders ??= ReadRequestHeaders();

    protected override Metadata ResponseTrailersCore => _responseTrailers ??= [];

    protected override Status StatusCore { get; set; } = Status.DefaultSuccess;

    protected override WriteOptions? WriteOptionsCore { get; set; }

    protected override AuthContext AuthContextCore =>
        _authContext ??= PeerIdentity.Of(http.Connection.ClientCertificate);

    /// <summary>Prepares the response and starts the deadline.</summary>
    public void Start()
    {
        http.Response.ContentType = GrpcHeaders.ContentType;
        http.Response.Headers[GrpcHeaders.AcceptEncoding] = GrpcHeaders.SupportedEncodings;
        CompressWith(settings.Options.ResponseCompressionAlgorithm);
        string? header = http.Request.Headers[GrpcHeaders.Timeout];
        if (header is null)
        {
            return;
        }

        if (!GrpcTimeout.TryParse(header, out var timeout))
        {
            throw new RpcException(new Status(
                StatusCode.InvalidArgument, $"The grpc-timeout '{header}' is not up to eight digits and a unit."));
        }

        var now = settings.TimeProvider.GetUtcNow().UtcDateTime;
        _deadline = timeout < DateTime.MaxValue - now ? now + timeout : DateTime.MaxValue;
        _deadlineSource = timeout <= GrpcTimeout.LongestTimer
            ? new CancellationTokenSource(timeout, settings.TimeProvider)
            : new CancellationTokenSource();
        _abortRegistration = http.RequestAborted.UnsafeRegister(
            static state => ((CancellationTokenSource)state!).Cancel(), _deadlineSource);
    }

    /// <summary>A read or a write has found the caller gone; the token that says so may come a moment later.</summary>
    public void MarkAborted() => _wasAborted = true;

    public void Dispose()
    {
        _abortRegistration.Dispose();
        _deadlineSource?.Dispose();
    }

    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders)
    {
        ArgumentNullException.ThrowIfNull(responseHeaders);
        if (_hasHeaders || http.Response.HasStarted)
        {
            throw new InvalidOperationException("The response headers can be sent once, before the first response.");
        }

        foreach (var entry in responseHeaders)
        {
            if (entry.Key == GrpcHeaders.RequestEncodingKey)
            {
                // The official server takes this key as the choice of a handler for its own call.
                CompressWith(entry.Value);
                continue;
            }

            if (!MetadataHeaders.TryEncode(entry, out var value))
            {
                throw new ArgumentException(MetadataHeaders.DescribeBadText(entry), nameof(responseHeaders));
            }

            http.Response.Headers.Append(entry.Key, value);
        }

        _hasHeaders = true;

        // A flush is what sends them now; it starts the response by itself.
        return http.Response.BodyWriter.FlushAsync(CancellationTokenCore).AsTask();
    }

    /// <summary>Refused as the official server refuses it.</summary>
    protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) =>
        throw new NotSupportedException("Pass the Deadline and the CancellationToken of this call to the other call.");

    /// <summary>Never in an encoding that the caller has not said that it accepts.</summary>
    private void CompressWith(string? encoding)
    {
        _isGzip = encoding == GrpcHeaders.Gzip && AcceptsGzip();
        if (_isGzip)
        {
            http.Response.Headers[GrpcHeaders.Encoding] = GrpcHeaders.Gzip;
        }
        else
        {
            http.Response.Headers.Remove(GrpcHeaders.Encoding);
        }
    }

    /// <summary>E.g. "identity, deflate, gzip".</summary>
    private bool AcceptsGzip()
    {
        ReadOnlySpan<char> accepted = http.Request.Headers[GrpcHeaders.AcceptEncoding].ToString();
        foreach (var range in accepted.Split(','))
        {
            if (accepted[range].Trim() is GrpcHeaders.Gzip)
            {
                return true;
            }
        }

        return false;
    }

    private static string FormatPeer(ConnectionInfo connection) => connection.RemoteIpAddress switch
    {
        null => "unknown",
        { IsIPv4MappedToIPv6: true } mapped => $"ipv4:{mapped.MapToIPv4()}:{connection.RemotePort}",
        { AddressFamily: System.Net.Sockets.AddressFamily.InterNetworkV6 } v6 => $"ipv6:[{v6}]:{connection.RemotePort}",
        var v4 => $"ipv4:{v4}:{connection.RemotePort}",
    };

    private Metadata ReadRequestHeaders()
    {
        var metadata = new Metadata();
        foreach (var (name, values) in http.Request.Headers)
        {
            foreach (var value in values)
            {
                MetadataHeaders.Add(metadata, name, value ?? "");
            }
        }

        return metadata;
    }
}
