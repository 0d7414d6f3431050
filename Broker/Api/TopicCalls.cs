using System.Net;
using Broker.Domain;
using Broker.ServiceDefaults.Http;
using Broker.Transport;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Broker.Api;

/// <summary>
/// What a dedicated controller does with calls about topics: it has none, so it passes each call on to a data node as
/// it is, byte by byte, and its answer back. The data node serves it as one that reached it directly: it brings a
/// publish to the leader, and reads from its own replica. What it says of leaders leads clients past the controller.
/// </summary>
internal sealed class TopicCalls : IDisposable
{
    private const int BufferBytes = 32 * 1024;

    /// <summary>What this node answers itself: what is about nodes, and about this one.</summary>
    private static readonly HashSet<string> Own = new(StringComparer.Ordinal)
    {
        "/broker.v1.Admin/GetServerInfo",
        "/broker.v1.Admin/DescribeCluster",
        "/broker.v1.Admin/AddNode",
        "/broker.v1.Admin/TransferLeadership",
        "/broker.v1.Admin/ForceRecovery",
    };

    /// <summary>The same by HTTP, with what stands below; see <see cref="HttpApi"/>.</summary>
    private static readonly PathString[] OwnByHttp = ["/v1/server", "/v1/cluster/shards"];

    /// <summary>Of one connection only (RFC 9113, 8.2.2), or set anew.</summary>
    private static readonly HashSet<string> NotPassedOn = new(StringComparer.OrdinalIgnoreCase)
    {
        "connection", "content-length", "date", "expect", "host", "keep-alive", "server", "transfer-encoding",
        "upgrade",
    };

    private readonly DataNodes _nodes;
    private readonly ILogger _logger;
    private readonly HttpMessageInvoker _invoker;

    public TopicCalls(DataNodes nodes, ILogger<TopicCalls> logger)
    {
        (_nodes, _logger) = (nodes, logger);
        var handler = PeerChannel.MakeHandler(watched: true);

        // Streams stay for long, and a connection has room for a hundred.
        handler.EnableMultipleHttp2Connections = true;
        _invoker = new HttpMessageInvoker(handler);
    }

    /// <summary>
    /// Whether a call is about topics. What another node passes on to the leader of the metadata group is for this one.
    /// </summary>
    public static bool IsOne(HttpRequest request) =>
        request.Path.StartsWithSegments("/broker.v1.Broker", StringComparison.Ordinal)
        || (request.Path.StartsWithSegments("/broker.v1.Admin", StringComparison.Ordinal)
            && !Own.Contains(request.Path.Value!)
            && !request.Headers.ContainsKey(LeaderForwarder.ForwardedHeader))
        || (request.Path.StartsWithSegments(HttpApi.Root, StringComparison.Ordinal) && !IsOwnByHttp(request.Path));

    public async Task PassOnAsync(HttpContext http)
    {
        LetStreamsLast(http);
        foreach (var to in _nodes.List())
        {
            if (await TryPassOnAsync(http, to))
            {
                return;
            }
        }

        await EarlyRefusal.AnswerAsync(http, _nodes.WhyNone());
    }

    public void Dispose() => _invoker.Dispose();

    /// <summary>About nodes as above: taking one in, and the cluster's state.</summary>
    private static bool IsOwnByHttp(PathString path) => path.Value is "/v1/cluster" or "/v1/cluster/nodes"
        || Array.Exists(OwnByHttp, own => path.StartsWithSegments(own, StringComparison.Ordinal));

    /// <summary>As gRPC does for its own calls: a stream may be long, and silent.</summary>
    private static void LetStreamsLast(HttpContext http)
    {
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = null;
        }

        if (http.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } rate)
        {
            rate.MinDataRate = null;
        }
    }

    /// <summary>False: it was not reached, and nothing of the call is gone.</summary>
    private async Task<bool> TryPassOnAsync(HttpContext http, PeerEndpoint to)
    {
        var stop = http.RequestAborted;
        using var body = new PassedBody(http.Request.Body);
        using var request = MakeRequest(http.Request, to.Address, body);
        var answer = new GrpcFrames();
        try
        {
            using var response = await _invoker.SendAsync(request, stop);
            await PassBackAsync(http, response, answer, stop);
            return true;
        }
        catch (HttpRequestException failure) when (!body.HasBegun && !http.Response.HasStarted
            && failure.HttpRequestError == HttpRequestError.ConnectionError)
        {
            ApiEvents.DataNodeNotReached(_logger, to.Name, failure.Message);
            return false;
        }
        catch (Exception failure) when (failure is HttpRequestException or IOException && !stop.IsCancellationRequested)
        {
            ApiEvents.DataNodeBroke(_logger, to.Name, http.Request.Path.Value ?? "", failure.Message);
            if (!http.Response.HasStarted)
            {
                await EarlyRefusal.AnswerAsync(http, Refusal.DataNodeBroke(to.Name));
            }
            else if (answer.IsBetween && EarlyRefusal.IsGrpc(http.Request))
            {
                EarlyRefusal.End(http, Refusal.DataNodeBroke(to.Name));
            }
            else
            {
                http.Abort(); // Within a message: nothing can be said any more.
            }

            return true;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            return true; // The client has gone; so has the call at the data node.
        }
        finally
        {
            await body.EndAsync();
        }
    }

    private static HttpRequestMessage MakeRequest(HttpRequest from, Uri to, PassedBody body)
    {
        // As it was sent: what is percent-encoded twice must not be decoded once on the way.
        var address = new Uri(
            to.GetLeftPart(UriPartial.Authority) + RequestTarget.PathAndQuery(from),
            new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true });
        var request = new HttpRequestMessage(HttpMethod.Parse(from.Method), address)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = body,
        };
        foreach (var (name, values) in from.Headers)
        {
            if (name[0] != ':' && !NotPassedOn.Contains(name)
                && !request.Headers.TryAddWithoutValidation(name, (IEnumerable<string?>)values))
            {
                body.Headers.TryAddWithoutValidation(name, (IEnumerable<string?>)values);
            }
        }

        return request;
    }

    private static async Task PassBackAsync(
        HttpContext http, HttpResponseMessage response, GrpcFrames frames, CancellationToken stop)
    {
        http.Response.StatusCode = (int)response.StatusCode;
        foreach (var (name, values) in response.Headers.Concat(response.Content.Headers))
        {
            if (!NotPassedOn.Contains(name))
            {
                http.Response.Headers[name] = values.ToArray();
            }
        }

        var buffer = new byte[BufferBytes];
        await using var stream = await response.Content.ReadAsStreamAsync(stop);
        if (!response.Headers.Contains("grpc-status"))
        {
            // The head goes at once, as what follows may take long. One that is all there is must end the response.
            await http.Response.Body.FlushAsync(stop);
        }

        for (int count; (count = await stream.ReadAsync(buffer, stop)) > 0;)
        {
            await http.Response.Body.WriteAsync(buffer.AsMemory(0, count), stop);
            await http.Response.Body.FlushAsync(stop);
            frames.Pass(buffer.AsSpan(0, count));
        }

        foreach (var (name, values) in response.TrailingHeaders)
        {
            http.Response.AppendTrailer(name, values.ToArray());
        }
    }

    /// <summary>What the client sends, as it comes.</summary>
    private sealed class PassedBody(Stream from) : HttpContent
    {
        private readonly CancellationTokenSource _end = new();
        private Task _copying = Task.CompletedTask;

        /// <summary>Some of it may be gone.</summary>
        public bool HasBegun { get; private set; }

        /// <summary>The call is over: from now on nobody reads what its client sends.</summary>
        public async Task EndAsync()
        {
            await _end.CancelAsync();
            await _copying.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override Task SerializeToStreamAsync(
            Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            HasBegun = true;
            return _copying = CopyAsync(stream, cancellationToken);
        }

        protected override void Dispose(bool disposing)
        {
            _end.Dispose();
            base.Dispose(disposing);
        }

        private async Task CopyAsync(Stream stream, CancellationToken stop)
        {
            using var over = CancellationTokenSource.CreateLinkedTokenSource(stop, _end.Token);
            var cancellationToken = over.Token;
            var buffer = new byte[BufferBytes];

            // The head of a call goes at once: the data node may answer before the client sends anything.
            await stream.FlushAsync(cancellationToken);
            for (int count; (count = await from.ReadAsync(buffer, cancellationToken)) > 0;)
            {
                await stream.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
                await stream.FlushAsync(cancellationToken);
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}

/// <summary>
/// Whether a body of gRPC is between two messages: each is one byte, its length in four, big endian, and so many bytes;
/// an empty one is 00 00 00 00 00.
/// </summary>
internal sealed class GrpcFrames
{
    private const int HeadBytes = 5;

    private long _leftBytes;
    private uint _length;
    private int _headBytes;

    public bool IsBetween => _leftBytes == 0 && _headBytes == 0;

    public void Pass(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (_leftBytes > 0)
            {
                var count = (int)Math.Min(_leftBytes, bytes.Length);
                _leftBytes -= count;
                bytes = bytes[count..];
                continue;
            }

            _length = _headBytes == 0 ? 0 : (_length << 8) | bytes[0];
            bytes = bytes[1..];
            if (++_headBytes == HeadBytes)
            {
                (_leftBytes, _headBytes) = (_length, 0);
            }
        }
    }
}
