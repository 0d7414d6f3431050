using Broker.Delivery;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.V1;

namespace Broker.Api;

/// <summary>
/// What operators see of a group's single records. Those that are on their way the shards' leaders know; dead letters
/// are read as they are listed.
/// </summary>
internal sealed class GroupPeeks(GroupRegistry registry, IConsumerGroups groups, DeadLetterAdmin deadLetters)
{
    public async Task<PeekGroupResponse> PeekAsync(PeekGroupRequest request, CancellationToken cancellationToken)
    {
        var group = await registry.FindAsync(request.Group, cancellationToken);
        if (request.State == DeliveryState.Dead)
        {
            return await PeekDeadAsync(request, cancellationToken);
        }

        var state = request.State switch
        {
            DeliveryState.Waiting => PeekState.Waiting,
            DeliveryState.Outstanding => PeekState.Outstanding,
            DeliveryState.Delayed => PeekState.Delayed,
            _ => throw Refusal.InvalidArgument(
                "The request does not say which records are wanted; set state to WAITING, OUTSTANDING, DELAYED or "
                + "DEAD."),
        };
        var size = request.PageSize == 0
            ? Limits.DefaultPeeksPerPage
            : (int)Math.Min(request.PageSize, Limits.PeeksPerPage);
        var after = PageTokens.ReadPlace(request.PageToken);
        var found = await groups.PeekAsync(group, state, after, size + 1, cancellationToken);
        var response = new PeekGroupResponse();
        response.Records.AddRange(found.Take(size).Select(each => ToWire(each, state)));
        response.NextPageToken = found.Count > size ? PageTokens.Of(found[size - 1].Place) : "";
        return response;
    }

    private async Task<PeekGroupResponse> PeekDeadAsync(PeekGroupRequest request, CancellationToken cancellationToken)
    {
        var list = new ListDeadLettersRequest
        {
            Group = request.Group,
            PageSize = request.PageSize,
            PageToken = request.PageToken,
        };
        var listed = await deadLetters.ListAsync(list, cancellationToken);
        var response = new PeekGroupResponse { NextPageToken = listed.NextPageToken };
        response.Records.AddRange(listed.DeadLetters.Select(static letter => new PeekedRecord
        {
            Topic = letter.Topic,
            Partition = letter.Partition,
            Offset = letter.Offset,
            Deliveries = letter.Attempts,
            Reason = letter.Reason,
            DeadPosition = letter.Position,
        }));
        return response;
    }

    private static PeekedRecord ToWire(PeekedPlace found, PeekState state) => new()
    {
        Topic = found.Place.Topic,
        Partition = (uint)found.Place.Partition,
        Offset = found.Place.Offset,
        Deliveries = (uint)found.Deliveries,
        Consumer = found.Consumer,
        NodeId = (uint)found.Node,
        Session = (ulong)found.Session,
        LeaseEndUnixMs = state == PeekState.Outstanding ? found.UntilUnixMs : 0,
        DueUnixMs = state == PeekState.Delayed ? found.UntilUnixMs : 0,
    };
}
