using Broker.Domain;
using Broker.Protocol.Wire;
using Grpc.Core;

namespace Broker.Api;

/// <content>Consumer groups; see <see cref="GroupConsumers"/>.</content>
internal sealed partial class BrokerService
{
    public override Task Consume(
        IAsyncStreamReader<ConsumeRequest> requestStream,
        IServerStreamWriter<ConsumeResponse> responseStream,
        ServerCallContext context) =>
        ServeAsync(context, ended => consumers.ConsumeAsync(requestStream, responseStream, ended));

    public override async Task<FetchResponse> Fetch(FetchRequest request, ServerCallContext context)
    {
        FetchResponse? response = null;
        await ServeAsync(context, async ended => response = await consumers.FetchAsync(request, ended));
        return response!;
    }

    public override async Task<SettleResponse> Settle(SettleRequest request, ServerCallContext context)
    {
        try
        {
            return await consumers.SettleAsync(request, context.CancellationToken);
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }
    }
}
