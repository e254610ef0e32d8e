stack_script=/opt/detector/$htc_detector/bin/thisepic.sh
[[ -r $stack_script ]] || stack_script=/opt/detector/$htc_detector/setup.sh
if [[ $htc_detector != none && -r $stack_script ]]; then
    source "$stack_script"
elif [[ $htc_detector != none && $htc_detector != epic-main ]]; then
    htc_refuse "there is no geometry $htc_detector in this image"
fi
