using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>The gRPC side of a stream that a peer dialled.</summary>
public sealed class PeerService(PeerTransport transport) : Peer.PeerBase
{
    public override async Task Connect(
        IAsyncStreamReader<PeerEnvelope> requestStream,
        IServerStreamWriter<PeerEnvelope> responseStream,
        ServerCallContext context)
    {
        try
        {
            await transport.AcceptAsync(requestStream, responseStream, context.CancellationToken);
        }
        catch (TimeoutException)
        {
            throw new RpcException(new Status(StatusCode.DeadlineExceeded, "No hello came within two seconds."));
        }
    }
}
