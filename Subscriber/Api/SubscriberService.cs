using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Subscriber.Following;
using Subscriber.Inbox;
using Subscriber.Protocol.V1;

namespace Subscriber.Api;

/// <summary>The gRPC side, see Protos/subscriber/v1/subscriber.proto.</summary>
internal sealed class SubscriberService(InboxReader inbox, SubjectList subjects, IHostApplicationLifetime lifetime)
    : Protocol.V1.Subscriber.SubscriberBase
{
    public override async Task Messages(
        MessagesRequest request, IServerStreamWriter<Message> responseStream, ServerCallContext context)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(
            context.CancellationToken, lifetime.ApplicationStopping);
        try
        {
            var messages = inbox.ReadAsync(
                request.Filter.Length == 0 ? null : request.Filter,
                request.AfterInboxId,
                request.Follow,
                request.MaxMessages,
                ending.Token);
            await foreach (var message in messages)
            {
                await responseStream.WriteAsync(ToWire(message), context.CancellationToken);
            }
        }
        catch (SubscriberException e)
        {
            throw SubscriberStatus.ToRpc(e);
        }
        catch (OperationCanceledException) when (lifetime.ApplicationStopping.IsCancellationRequested)
        {
            throw new RpcException(new Status(
                StatusCode.Unavailable, "The subscriber stops. Go on later after the last id that you have."));
        }
    }

    public override async Task<AddSubjectResponse> AddSubject(AddSubjectRequest request, ServerCallContext context)
    {
        try
        {
            await subjects.AddAsync(request.Filter, context.CancellationToken);
            return new AddSubjectResponse();
        }
        catch (SubscriberException e)
        {
            throw SubscriberStatus.ToRpc(e);
        }
    }

    public override async Task<RemoveSubjectResponse> RemoveSubject(
        RemoveSubjectRequest request, ServerCallContext context)
    {
        try
        {
            await subjects.RemoveAsync(request.Filter, context.CancellationToken);
            return new RemoveSubjectResponse();
        }
        catch (SubscriberException e)
        {
            throw SubscriberStatus.ToRpc(e);
        }
    }

    public override Task<ListSubjectsResponse> ListSubjects(ListSubjectsRequest request, ServerCallContext context)
    {
        var response = new ListSubjectsResponse();
        response.Filters.AddRange(subjects.Filters);
        return Task.FromResult(response);
    }

    private static Message ToWire(InboxMessage message)
    {
        var record = message.Headers is null ? new Record() : Record.Parser.ParseFrom(message.Headers);
        record.Key = message.Key is null ? ByteString.Empty : UnsafeByteOperations.UnsafeWrap(message.Key);
        record.Value = UnsafeByteOperations.UnsafeWrap(message.Value);
        return new Message
        {
            InboxId = message.InboxId,
            Topic = message.Topic,
            Partition = (uint)message.Partition,
            Offset = message.Offset,
            TimestampUnixMs = message.TimestampUnixMs,
            Record = record,
        };
    }
}
