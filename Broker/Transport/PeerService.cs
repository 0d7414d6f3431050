using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>What peers call each other for, beside their connections.</summary>
public sealed class PeerService(PeerTransport transport) : Peer.PeerBase
{
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
