using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Grpc.Net.Client;

/// <summary>Options of a channel.</summary>
public sealed class GrpcChannelOptions
{
    /// <summary>Default: as the address says, http or https.</summary>
    public ChannelCredentials? Credentials { get; set; }

    /// <summary>In bytes. Default: null, no limit. A larger request fails with RESOURCE_EXHAUSTED.</summary>
    public int? MaxSendMessageSize { get; set; }

    /// <summary>
    /// In bytes. Default: 4 MiB. Null: no limit. A larger response ends the call with RESOURCE_EXHAUSTED.
    /// </summary>
    public int? MaxReceiveMessageSize { get; set; } = Wire.GrpcHeaders.DefaultMaxReceiveSizeBytes;

    public ILoggerFactory? LoggerFactory { get; set; }

    /// <summary>Sends the calls. Default: a SocketsHttpHandler of the channel's own.</summary>
    public HttpMessageHandler? HttpHandler { get; set; }

    /// <summary>Dispose the given HttpHandler with the channel. Default: false.</summary>
    public bool DisposeHttpClient { get; set; }

    /// <summary>Throw OperationCanceledException, not RpcException, when the caller cancels. Default: false.</summary>
    public bool ThrowOperationCanceledOnCancellation { get; set; }

    /// <summary>Send call credentials in the clear too. Default: false, they are sent over TLS only.</summary>
    public bool UnsafeUseInsecureChannelCallCredentials { get; set; }
}
