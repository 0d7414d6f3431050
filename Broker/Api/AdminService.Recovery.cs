using Broker.Cluster;
using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Api;

/// <summary>What an operator does when most replicas of a shard are damaged.</summary>
internal sealed partial class AdminService
{
    public override async Task<ForceRecoveryResponse> ForceRecovery(
        ForceRecoveryRequest request, ServerCallContext context)
    {
        try
        {
            var report = await node.ForceRecoveryAsync(
                new RecoveryOrder(
                    new GroupId((int)Math.Min(request.Shard, int.MaxValue)),
                    new NodeId((int)Math.Min(request.NodeId, int.MaxValue)),
                    [.. request.GoneNodes.Select(static gone => new NodeId((int)Math.Min(gone, int.MaxValue)))],
                    request.Operator,
                    context.Peer,
                    request.Confirmation),
                context.CancellationToken);
            return new ForceRecoveryResponse
            {
                Report = report.What,
                Confirmation = report.Confirmation,
                Done = report.At is not null,
                Index = (ulong)(report.At?.Index.Value ?? 0),
                Term = (ulong)(report.At?.Term.Value ?? 0),
            };
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }
    }
}
