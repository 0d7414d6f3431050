using System.Net;
using System.Net.Http.Headers;
using Grpc.Core;
using Grpc.Wire;

namespace Grpc.Net.Client.Internal;

/// <summary>A call with its messages: sends the request, opens the response, finds the status.</summary>
internal sealed class ClientCall<TRequest, TResponse> : ClientCall
    where TRequest : class
    where TResponse : class
{
    private const string UserAgent = "grpc-dotnet/2.85.0";

    private static readonly MediaTypeHeaderValue ContentType = new(GrpcHeaders.ContentType);

    private readonly Method<TRequest, TResponse> _method;
    private SingleRequestContent? _single;
    private StreamingRequestContent? _stream;
    private ClientStreamWriter<TRequest, TResponse>? _writer;
    private Task<ResponseFrames?> _response = Task.FromResult<ResponseFrames?>(null);

    public ClientCall(GrpcChannel channel, Method<TRequest, TResponse> method, in CallOptions options)
        : base(channel, method, options)
    {
        _method = method;
        Reader = new ClientStreamReader<TRequest, TResponse>(this, method.ResponseMarshaller);
    }

    public ClientStreamReader<TRequest, TResponse> Reader { get; }

    /// <summary>The frames of the response, or null when the call ended before there were any.</summary>
    public Task<ResponseFrames?> Response => _response;

    public WriteOptions? WriteOptions => Options.WriteOptions;

    /// <summary>Whether the caller asked for compressed requests, as with the official client.</summary>
    public bool IsCompressed => Options.Headers?.GetValue(GrpcHeaders.RequestEncodingKey) == GrpcHeaders.Gzip;

    /// <summary>Encodes the request at once, so that the caller may change the message when this returns.</summary>
    public void SendSingle(TRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var frame = new PooledBuffer();
        try
        {
            var compress = IsCompressed && ((WriteOptions?.Flags ?? default) & WriteFlags.NoCompress) == 0;
            new FrameWriter(frame, Channel.Options.MaxSendMessageSize)
                .Write(request, _method.RequestMarshaller, compress);
        }
        catch (Exception exception)
        {
            frame.Release();
            Fail(exception);
            return;
        }

        _single = new SingleRequestContent(frame, ContentType);
        Open(_single);
    }

    public ClientStreamWriter<TRequest, TResponse> SendStream()
    {
        _stream = new StreamingRequestContent(ContentType);
        _writer = new ClientStreamWriter<TRequest, TResponse>(this, _stream, _method.RequestMarshaller);
        Open(_stream);
        return _writer;
    }

    /// <summary>Reads the one response of a call and its status.</summary>
    public async Task<TResponse> ReadSingleAsync()
    {
        var response = await Reader.MoveNext(default) ? Reader.Current : null;
        if (response is not null && await Reader.MoveNext(default))
        {
            Fail(FrameErrors.Malformed("the response holds more than one message."));
            throw CreateException();
        }

        // A status of OK without a message was turned into an error by FinishFromTrailers.
        return response ?? throw CreateException();
    }

    /// <summary>Ends the call with the status that follows the last response.</summary>
    public void FinishFromTrailers(HttpResponseHeaders trailers, bool hasMessage) =>
        Finish(ReadStatus(trailers, hasMessage), ToMetadata(trailers));

    protected override void ReleaseBuffers()
    {
        _single?.Release();
        _stream?.Abort();
        _writer?.Close();
        Reader?.Close();
    }

    private void Open(HttpContent content)
    {
        if (IsFinished)
        {
            // The deadline had passed or the caller had cancelled before anything was sent.
            ReleaseBuffers();
            return;
        }

        _response = OpenAsync(content);
    }

    private async Task<ResponseFrames?> OpenAsync(HttpContent content)
    {
        try
        {
            var request = CreateRequest(content);
            await AddCredentialsAsync(request);
            var response = await Channel.Invoker.SendAsync(request, Lifetime);
            Attach(response);
            return await AcceptAsync(response);
        }
        catch (Exception exception)
        {
            Fail(exception);
            return null;
        }
    }

    private HttpRequestMessage CreateRequest(HttpContent content)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, Channel.GetAddress(_method))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
        var headers = request.Headers;
        headers.TryAddWithoutValidation("TE", "trailers");
        headers.TryAddWithoutValidation("User-Agent", UserAgent);
        headers.TryAddWithoutValidation(GrpcHeaders.AcceptEncoding, GrpcHeaders.SupportedEncodings);
        if (Timeout is { } timeout)
        {
            headers.TryAddWithoutValidation(GrpcHeaders.Timeout, GrpcTimeout.Format(timeout));
        }

        if (IsCompressed)
        {
            headers.TryAddWithoutValidation(GrpcHeaders.Encoding, GrpcHeaders.Gzip);
        }

        AddMetadata(headers, Options.Headers);
        return request;
    }

    private static void AddMetadata(HttpRequestHeaders headers, Metadata? metadata)
    {
        for (var i = 0; i < metadata?.Count; i++)
        {
            var entry = metadata[i];
            if (entry.Key == GrpcHeaders.RequestEncodingKey)
            {
                continue;
            }

            if (!MetadataHeaders.TryEncode(entry, out var value))
            {
                throw new RpcException(new Status(StatusCode.Internal, MetadataHeaders.DescribeBadText(entry)));
            }

            headers.TryAddWithoutValidation(entry.Key, value);
        }
    }

    private async ValueTask AddCredentialsAsync(HttpRequestMessage request)
    {
        if (Channel.CallCredentials is null && Options.Credentials is null)
        {
            return;
        }

        if (!Channel.IsSecure && !Channel.Options.UnsafeUseInsecureChannelCallCredentials)
        {
            GrpcClientLog.CredentialsWithheld(Channel.Logger, _method.FullName, Channel.Address);
            return;
        }

        var metadata = new Metadata();
        var serviceUrl = new Uri(Channel.Address, _method.ServiceName).ToString();
        var context = new AuthInterceptorContext(serviceUrl, _method.Name, Lifetime);
        foreach (var credentials in new[] { Channel.CallCredentials, Options.Credentials })
        {
            if (credentials is not null)
            {
                await credentials.AddToAsync(context, metadata);
            }
        }

        AddMetadata(request.Headers, metadata);
    }

    private async ValueTask<ResponseFrames?> AcceptAsync(HttpResponseMessage response)
    {
        if (response.Headers.NonValidated.Contains(GrpcHeaders.Status))
        {
            // A response of trailers only: the status stands where the headers would.
            FinishFromTrailers(response.Headers, hasMessage: false);
            return null;
        }

        if (response.StatusCode != HttpStatusCode.OK)
        {
            Finish(StatusMap.OfHttpStatus(response.StatusCode, Channel.Address));
            return null;
        }

        var contentType = response.Content.Headers.ContentType?.ToString();
        if (!GrpcHeaders.IsGrpcContentType(contentType))
        {
            Finish(new Status(
                StatusCode.Unknown,
                $"{Channel.Address} answered with content-type '{contentType}', not application/grpc."));
            return null;
        }

        response.Headers.NonValidated.TryGetValues(GrpcHeaders.Encoding, out var encoding);
        var stream = await response.Content.ReadAsStreamAsync(Lifetime);
        var frames = new ResponseFrames(stream, encoding.ToString(), Channel.Options.MaxReceiveMessageSize);
        Reader.Attach(frames, response);
        return frames;
    }

    private Status ReadStatus(HttpResponseHeaders trailers, bool hasMessage)
    {
        if (!trailers.NonValidated.TryGetValues(GrpcHeaders.Status, out var text))
        {
            return new Status(
                StatusCode.Internal,
                $"{Channel.Address} ended the response without a grpc-status: it or a proxy broke it off.");
        }

        var detail = trailers.NonValidated.TryGetValues(GrpcHeaders.Message, out var message)
            ? PercentEncoding.Decode(message.ToString())
            : "";
        if (!int.TryParse(text.ToString(), out var code) || code is < 0 or > (int)StatusCode.Unauthenticated)
        {
            return new Status(StatusCode.Unknown, $"{Channel.Address} sent the unknown grpc-status '{text}'. {detail}");
        }

        var needsMessage = _method.Type is MethodType.Unary or MethodType.ClientStreaming;
        return code == 0 && needsMessage && !hasMessage
            ? new Status(StatusCode.Internal, $"{Channel.Address} answered OK without a response message.")
            : new Status((StatusCode)code, detail);
    }
}
