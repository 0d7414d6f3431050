using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>The gRPC side of the streams that peers dial.</summary>
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

    public override Task InstallSnapshot(
        IAsyncStreamReader<InstallSnapshotRequest> requestStream,
        IServerStreamWriter<InstallSnapshotResponse> responseStream,
        ServerCallContext context) =>
        transport.ReceiveSnapshotAsync(requestStream, responseStream, context.CancellationToken);

    public override Task FetchEntries(
        FetchEntriesRequest request, IServerStreamWriter<EntriesChunk> responseStream, ServerCallContext context) =>
        transport.ServeEntriesAsync(request, responseStream, context.CancellationToken);

    public override Task<DescribeReplicasResponse> DescribeReplicas(
        DescribeReplicasRequest request, ServerCallContext context) =>
        Task.FromResult(transport.DescribeReplicas(request));

    public override Task<RegisterResponse> Register(RegisterRequest request, ServerCallContext context) =>
        transport.RegisterAsync(request, context.CancellationToken);

    public override Task<InviteResponse> Invite(InviteRequest request, ServerCallContext context) =>
        Task.FromResult(new InviteResponse { Hello = transport.Hello });

    public override Task<ChangeMetadataResponse> ChangeMetadata(
        ChangeMetadataRequest request, ServerCallContext context) =>
        transport.ChangeMetadataAsync(request, context.CancellationToken);

    public override Task<ReadIndexResponse> ReadIndex(ReadIndexRequest request, ServerCallContext context) =>
        transport.ReadIndexAsync(request, context.CancellationToken);
}
