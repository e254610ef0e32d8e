"""Names in the submit language, for completion: facts of the HTCondor 25 manual, "Submit Description File Commands"."""

from __future__ import annotations

COMMANDS = tuple(
    """
    accounting_group accounting_group_user allow_startup_script allowed_execute_duration allowed_job_duration
    append_files arguments batch_name batch_project checkpoint_exit_code concurrency_limits
    concurrency_limits_expr container_image container_service_names container_target_dir copy_to_spool
    coresize cron_day_of_month cron_day_of_week cron_hour cron_minute cron_month cron_prep_time cron_window
    cuda_version deferral_prep_time deferral_time deferral_window description docker_image
    docker_network_type docker_pull_policy
    dont_encrypt_input_files dont_encrypt_output_files email_attributes encrypt_execute_directory encrypt_input_files
    encrypt_output_files env environment erase_output_and_error_on_restart error executable getenv
    gpus_maximum_capability gpus_minimum_capability gpus_minimum_memory gpus_minimum_runtime grid_resource hold
    image_size initialdir input job_ad_information_attrs job_lease_duration job_machine_attrs
    job_machine_attrs_history_length job_max_vacate_time keep_claim_idle kill_sig kill_sig_timeout leave_in_queue log
    log_xml machine_count manifest manifest_dir max_idle max_job_retirement_time max_materialize max_retries
    max_transfer_input_mb max_transfer_output_mb nice_user next_job_start_delay notification notify_user
    noop_job noop_job_exit_code noop_job_exit_signal on_exit_hold on_exit_hold_reason on_exit_hold_subcode
    on_exit_remove output output_destination periodic_hold periodic_hold_reason periodic_hold_subcode periodic_release
    periodic_remove periodic_vacate preserve_relative_paths priority public_input_files rank remote_initialdir
    request_cpus request_disk request_gpus request_memory require_gpus requirements retry_until
    retry_request_memory run_as_owner should_transfer_files skip_filechecks starter_debug starter_log stack_size
    stream_error stream_input stream_output submit_event_notes submit_event_user_notes success_exit_code
    transfer_checkpoint_files transfer_container transfer_error transfer_executable transfer_input transfer_input_files
    transfer_output transfer_output_files transfer_output_remaps transfer_plugins ulog_execute_attrs universe
    use_oauth_services want_graceful_removal want_io_proxy when_to_transfer_output x509userproxy
    """.split()  # noqa: SIM905 - a hundred quoted lines are harder to read
)
STATEMENTS = ("if", "else", "elif", "endif", "include : ", "queue")
QUEUE_WORDS = ("in", "from", "matching", "matching files", "matching dirs")
ALIASES = ("args", "cmd", "err", "in", "initial_dir", "iwd", "out", "prio", "user_log", "allow_startup_script")
"""Other spellings of submit commands that HTCondor takes."""
VALUES = {
    "universe": ("vanilla", "container", "docker", "parallel", "local", "scheduler", "grid", "java", "vm"),
    "should_transfer_files": ("YES", "NO", "IF_NEEDED"),
    "when_to_transfer_output": ("ON_EXIT", "ON_EXIT_OR_EVICT", "ON_SUCCESS"),
    "notification": ("never", "complete", "error", "always"),
    **dict.fromkeys(
        ("getenv", "hold", "stream_output", "stream_error", "transfer_executable", "want_io_proxy", "nice_user"),
        ("true", "false"),
    ),
}
MACROS = ("Cluster", "ClusterId", "Process", "ProcId", "Item", "ItemIndex", "Row", "Step", "Node", "SUBMIT_TIME")
"""Macros that HTCondor defines for every job."""
