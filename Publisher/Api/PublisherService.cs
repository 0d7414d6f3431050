using System.Diagnostics;
using Grpc.Core;
using Publisher.Outbox;
using Publisher.Protocol.V1;

namespace Publisher.Api;

/// <summary>The gRPC ingress, see Protos/publisher/v1/publisher.proto.</summary>
internal sealed class PublisherService(
    PublishIntake intake, OutboxMessages outbox, TimeProvider time, IHostApplicationLifetime lifetime)
    : Protocol.V1.Publisher.PublisherBase
{
    // An answer leaves so long before the caller's deadline that it arrives: who hears nothing sends again. A quarter
    // of the time that is left, and no more than this.
    private static readonly TimeSpan DeadlineMargin = TimeSpan.FromSeconds(1);

    public override async Task<PublishResponse> Publish(PublishRequest request, ServerCallContext context)
    {
        try
        {
            var ticket = await SubmitAsync(request, context.CancellationToken);
            return await AnswerAsync(ticket, PatienceOf(context), context.CancellationToken);
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
                (await intake.AnswerAsync(ticket, PatienceOf(context), context.CancellationToken)).Select(ToResponse));
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
        ServerCallContext context)
    {
        // One trace of all that ever comes on a stream would be none: here a message brings its own, or has none.
        Activity.Current = null;
        return new PublishPipeline(
            SubmitAsync, (ticket, token) => AnswerAsync(ticket, null, token), lifetime.ApplicationStopping).RunAsync(
                requestStream, responseStream, context.CancellationToken);
    }

    public override async Task<GetMessageResponse> GetMessage(GetMessageRequest request, ServerCallContext context)
    {
        try
        {
            var row = await outbox.GetAsync(request.OutboxId, context.CancellationToken);
            return new GetMessageResponse
            {
                Topic = row.Topic,
                State = (MessageState)(row.State + 1),
                Offset = row.Offset ?? -1,
                Partition = (uint)row.Partition,
                Error = row.Error ?? "",
            };
        }
        catch (PublishException e)
        {
            throw PublishStatus.ToRpc(e);
        }
    }

    private static List<OutboxMessage> CheckAll(PublishBatchRequest request)
    {
        if (request.Messages.Count is 0 or > PublisherLimits.BatchMessages)
        {
            throw new PublishException(
                PublishFailure.Invalid,
                $"The batch has {request.Messages.Count:N0} messages; "
                + $"expected 1 to {PublisherLimits.BatchMessages:N0}.");
        }

        var messages = request.Messages.Select(Check).ToList();
        var keys = messages.Where(message => message.Once is not null).Select(message => message.Once!.Text).ToList();
        return keys.Distinct(StringComparer.Ordinal).Count() == keys.Count
            ? messages
            : throw new PublishException(
                PublishFailure.Invalid,
                "Two messages of the batch have the same idempotency key. Nothing was stored; give each its own.");
    }

    private static OutboxMessage Check(PublishRequest request) => MessageCheck.Make(
        request.Topic, request.Record, request.IdempotencyKey.Length == 0 ? null : request.IdempotencyKey);

    private static PublishResponse ToResponse(PublishAnswer answer) => new()
    {
        OutboxId = answer.OutboxId,
        Committed = answer.Committed,
        Offset = answer.Offset,
        Partition = (uint)answer.Partition,
    };

    private Task<PublishTicket> SubmitAsync(PublishRequest request, CancellationToken cancellationToken) =>
        intake.SubmitAsync([Check(request)], request.WaitFor != WaitFor.Stored, cancellationToken);

    private async Task<PublishResponse> AnswerAsync(
        PublishTicket ticket, TimeSpan? patience, CancellationToken cancellationToken) =>
        ToResponse((await intake.AnswerAsync(ticket, patience, cancellationToken))[0]);

    private TimeSpan? PatienceOf(ServerCallContext context)
    {
        if (context.Deadline == DateTime.MaxValue)
        {
            return null;
        }

        var left = context.Deadline - time.GetUtcNow().UtcDateTime;
        var margin = left / 4 < DeadlineMargin ? left / 4 : DeadlineMargin;
        return left > margin ? left - margin : TimeSpan.Zero;
    }
}
