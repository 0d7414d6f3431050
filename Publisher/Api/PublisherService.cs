using Grpc.Core;
using Publisher.Outbox;
using Publisher.Protocol.V1;

namespace Publisher.Api;

/// <summary>The gRPC ingress, see Protos/publisher/v1/publisher.proto.</summary>
internal sealed class PublisherService(PublishIntake intake) : Protocol.V1.Publisher.PublisherBase
{
    public override async Task<PublishResponse> Publish(PublishRequest request, ServerCallContext context)
    {
        try
        {
            var ticket = await SubmitAsync(request, context.CancellationToken);
            return await AnswerAsync(ticket, context.CancellationToken);
        }
        catch (PublishException e)
        {
            throw PublishStatus.ToRpc(e);
        }
    }

    public override async Task<PublishBatchResponse> PublishBatch(
        PublishBatchRequest request, ServerCallContext context)
    {
        try
        {
            // All are stored in one insert. The strictest wish decides when to answer.
            var messages = CheckAll(request);
            var wait = request.Messages.Any(message => message.WaitFor != WaitFor.Stored);
            var ticket = await intake.SubmitAsync(messages, wait, context.CancellationToken);
            var response = new PublishBatchResponse();
            response.Responses.AddRange(
                (await intake.AnswerAsync(ticket, context.CancellationToken)).Select(ToResponse));
            return response;
        }
        catch (PublishException e)
        {
            throw PublishStatus.ToRpc(e);
        }
    }

    public override Task PublishStream(
        IAsyncStreamReader<PublishStreamRequest> requestStream,
        IServerStreamWriter<PublishStreamResponse> responseStream,
        ServerCallContext context) =>
        new PublishPipeline(SubmitAsync, AnswerAsync).RunAsync(
            requestStream, responseStream, context.CancellationToken);

    private static List<OutboxMessage> CheckAll(PublishBatchRequest request)
    {
        if (request.Messages.Count is 0 or > PublisherLimits.BatchMessages)
        {
            throw new PublishException(
                PublishFailure.Invalid,
                $"The batch has {request.Messages.Count:N0} messages; "
                + $"expected 1 to {PublisherLimits.BatchMessages:N0}.");
        }

        return request.Messages.Select(message => MessageCheck.Make(message.Topic, message.Record)).ToList();
    }

    private static PublishResponse ToResponse(PublishAnswer answer) => new()
    {
        OutboxId = answer.OutboxId,
        Committed = answer.Committed,
        Offset = answer.Offset,
    };

    private Task<PublishTicket> SubmitAsync(PublishRequest request, CancellationToken cancellationToken) =>
        intake.SubmitAsync(
            [MessageCheck.Make(request.Topic, request.Record)], request.WaitFor != WaitFor.Stored, cancellationToken);

    private async Task<PublishResponse> AnswerAsync(PublishTicket ticket, CancellationToken cancellationToken) =>
        ToResponse((await intake.AnswerAsync(ticket, cancellationToken))[0]);
}
